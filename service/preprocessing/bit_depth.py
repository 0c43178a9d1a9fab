"""Conversion of grey images of 16 and 32 bits, from scanners and laboratories, to 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput

CHUNK_VALUES = 2**20  # values scaled at a time, because each takes 16 bytes

# The possible values of white: of unsigned and signed integers, and of floating point.
WHITE_POINTS = {"u": (255, 65535, 2**32 - 1), "i": (255, 65535), "f": (1, 255, 65535)}


def white_point(low: float, high: float, dtype: np.dtype[Any]) -> int:
    """Return the value of white in an image whose values have no defined range.

    It is the smallest of 1 (floating point only), 255, 65535 and 2^32 - 1 (unsigned only) that no
    pixel exceeds.

    Args:
        low: the lowest value; NaN if any is.
        high: the highest value.
        dtype: the values' type.

    Raises:
        InvalidInput: a value is below 0, above the largest white, or not a number.
    """
    for white in WHITE_POINTS[dtype.kind]:
        if low >= 0 and high <= white:
            return white
    raise InvalidInput(
        f"the image has {8 * dtype.itemsize}-bit values from {low} to {high}: bring them to 0 to "
        "255, or save it with 8 or 16 bits"
    )


def to_8_bit(image: Image.Image) -> Image.Image:
    """Return a grey image of more than 8 bits in 8; Pillow itself would clip or refuse it.

    In a 16-bit file white is 65535. A 32-bit file, integer or floating point, does not define
    white; `white_point` finds it.

    Raises:
        InvalidInput: as in `white_point`.
    """
    if image.mode.startswith("I;16"):
        values = _values(image)  # (H, W)
        grey = Image.fromarray((values // 257).astype(np.uint8))
        grey.info = dict(image.info)
        if (transparent := grey.info.pop("transparency", None)) is not None:
            grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return grey
    if image.mode in ("I", "F"):
        return Image.fromarray(_scaled(_values(image)))
    return image


def _values(image: Image.Image) -> NDArray[Any]:
    """Return a copy of the pixels (H, W), made a few rows at a time.

    Pillow copies 64 KiB at a time and then joins them. The 128 MiB of a large image filled
    malloc's heaps for a thread, which sometimes kept 64 MiB of it.
    """
    width, height = image.size
    rows = max(1, CHUNK_VALUES // width)
    values = np.empty((height, width), np.asarray(image.crop((0, 0, 1, 1))).dtype)
    for top in range(0, height, rows):
        below = min(top + rows, height)
        values[top:below] = np.asarray(image.crop((0, top, width, below)))
    return values


def _scaled(values: NDArray[np.int32 | np.float32]) -> NDArray[np.uint8]:
    # The extrema are both NaN if a pixel is.
    white = white_point(float(values.min()), float(values.max()), values.dtype)
    scaled = np.empty(values.shape, np.uint8)
    for few, into in zip(_pieces(values), _pieces(scaled), strict=True):
        into[:] = np.rint(few * np.float32(255 / white))
    return scaled  # (H, W)


def _pieces(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Return views of contiguous values, of at most `CHUNK_VALUES` values each."""
    flat = values.reshape(-1)
    return [flat[start : start + CHUNK_VALUES] for start in range(0, flat.size, CHUNK_VALUES)]
