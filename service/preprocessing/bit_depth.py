"""Conversion of grey images of 16 and 32 bits, from scanners and laboratories, to 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput

PIECE = 2**20  # values scaled at a time, because each takes 16 bytes

# The possible values of white, by whether an image's values are integers.
WHITE_POINTS = {True: (255, 65535), False: (1, 255, 65535)}


def to_8_bit(image: Image.Image) -> Image.Image:
    """Return a grey image of more than 8 bits in 8; Pillow itself would clip or refuse it.

    In a 16-bit file white is 65535. A 32-bit file, integer or floating point, does not define
    white: it is the smallest of 1 (floating point only), 255 and 65535 that no pixel exceeds.

    Raises:
        InvalidInput: a 32-bit pixel is below 0, above 65535, or not a number.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((_values(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_scaled(_values(image)))
    return image


def _values(image: Image.Image) -> NDArray[Any]:
    """Return a copy of the pixels (H, W), made a few rows at a time.

    Pillow copies 64 KiB at a time and then joins them. The 128 MiB of a large image filled
    malloc's heaps for a thread, which sometimes kept 64 MiB of it.
    """
    width, height = image.size
    rows = max(1, PIECE // width)
    values = np.empty((height, width), np.asarray(image.crop((0, 0, 1, 1))).dtype)
    for top in range(0, height, rows):
        below = min(top + rows, height)
        values[top:below] = np.asarray(image.crop((0, top, width, below)))
    return values


def _scaled(values: NDArray[np.int32 | np.float32]) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()  # both are NaN if a pixel is
    for white in WHITE_POINTS[np.issubdtype(values.dtype, np.integer)]:
        if low >= 0 and high <= white:
            scaled = np.empty(values.shape, np.uint8)
            for few, into in zip(_pieces(values), _pieces(scaled), strict=True):
                into[:] = np.rint(few * np.float32(255 / white))
            return scaled  # (H, W)
    raise InvalidInput(
        f"the image has 32-bit values from {low} to {high}: bring them to 0 to 255, or save it "
        "with 8 or 16 bits"
    )


def _pieces(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Return views of contiguous values, of at most `PIECE` values each."""
    flat = values.reshape(-1)
    return [flat[start : start + PIECE] for start in range(0, flat.size, PIECE)]
