"""Grey of 16 and 32 bits, as scanners and laboratories write it, in 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput

PIECE = 2**20  # values scaled at a time, since that takes 16 bytes for each

# The white that a picture may mean, by whether its values are whole numbers.
WHITE_POINTS = {True: (255, 65535), False: (1, 255, 65535)}


def to_8_bit(image: Image.Image) -> Image.Image:
    """Bring grey of more than 8 bits to 8; Pillow itself would clip it, or refuse.

    A file of 16 bits has its white at 65535. One of 32 bits, whole numbers or floating
    point, does not say where: it is the smallest of 1 (floating point only), 255 and
    65535 that no pixel is above.

    Raises:
        InvalidInput: a pixel of 32 bits is below 0, above 65535, or no number.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((_values(image) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_scaled(_values(image)))
    return image


def _values(image: Image.Image) -> NDArray[Any]:
    """Copy the pixels (H, W), a few rows at a time.

    Pillow copies 64 KiB at a time before it joins them. The 128 MiB of a large picture filled the
    heaps that malloc has for a thread, which now and then kept 64 MiB of it.
    """
    width, height = image.size
    rows = max(1, PIECE // width)
    values = np.empty((height, width), np.asarray(image.crop((0, 0, 1, 1))).dtype)
    for top in range(0, height, rows):
        below = min(top + rows, height)
        values[top:below] = np.asarray(image.crop((0, top, width, below)))
    return values


def _scaled(values: NDArray[np.int32 | np.float32]) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()  # of which both are NaN where a pixel is
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
    """Views of values, which are contiguous."""
    flat = values.reshape(-1)
    return [flat[start : start + PIECE] for start in range(0, flat.size, PIECE)]
