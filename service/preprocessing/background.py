"""Find the background of a photograph: what is connected to the border and of the border's colour.

The border's brightness may change evenly over the picture, as light does: a plane is fitted to it,
by least squares on what does not stand out (twice, so that a garment at the border does not count).
A pixel is background if it is near the plane and connected to the border by such pixels, so that
what has the background's brightness within the garment stays.

Where the garment's edge is soft, its pixels are a mixture of garment and background, and would be
an outline of light around a garment on black. A pixel p of the edge is a F + (1 - a) B, with B the
plane and F the mean of the garment nearby, of which a follows. The data set's garments are before
white, so the edge becomes the negated mixture with white: 255 - a F - (1 - a) 255.

A border that is rough, of wood or grass, is no plain background: none is found, and the picture
stays whole, so that the input monitor sees that it is unlike the training images.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

TOLERANCE = 13  # 5 % of 255, as in the paper of the data set
NOISE_TOLERANCE = 40  # the most that a noisy border makes of it
DEVIATIONS = 4  # of the border's own noise that are background still
FITS = 2

# The step from a border's pixel to the next that a quarter of them exceed, of photographs 84 wide
# made of training images: at most 5 for 95 % of those on plain backgrounds with light, shadow,
# noise and JPEG, and more than 6 for 95 % of those on brick, grass, gravel, wood and fur.
ROUGH = 6
OUTLIER = 30  # from the median of the border

# Of 2 to 6, on training images, 3 and 4 were best; and an edge of one pixel better than 2 or 3.
NEARBY = ImageFilter.BoxBlur(3)

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


class Background(NamedTuple):
    """What was found of an image's background."""

    pixels: Floats  # (H, W), of the image
    plane: Floats  # (H, W), the background's brightness, also where the garment is
    mask: Mask  # (H, W), where the background is

    def negated(self) -> NDArray[np.uint8]:
        """Return the garment negated and the background 0, (H, W)."""
        opacity = _opacity(np.abs(self.pixels - self.plane), self.mask)  # (H, W)
        negated = 255 - self.pixels - (1 - opacity) * (255 - self.plane)  # (H, W)
        negated[self.mask] = 0
        return negated.clip(0, 255).astype(np.uint8)


def find_background(grey: Image.Image) -> Background:
    """Find the background of an image in 8-bit grey; of a rough one, nothing is background."""
    pixels = np.asarray(grey, np.float32)  # (H, W)
    plane, noise = _fitted_plane(pixels)
    if _is_rough(_border(pixels)):
        return Background(pixels, plane, np.zeros(pixels.shape, bool))
    tolerance = max(TOLERANCE, min(NOISE_TOLERANCE, DEVIATIONS * noise))
    mask = _connected_to_border(np.abs(pixels - plane) <= tolerance)
    return Background(pixels, plane, mask)


def _is_rough(border: Floats) -> bool:
    steps = np.abs(np.diff(border))  # (B - 1,)
    quarter = 3 * len(steps) // 4
    return bool(np.partition(steps, quarter)[quarter] > ROUGH)


def _opacity(difference: Floats, mask: Mask) -> Floats:
    """Return the garment's share of each pixel (H, W): below 1 only beside the background.

    Args:
        difference: from the background's brightness, (H, W).
        mask: the background, (H, W).
    """
    inside = ~mask
    inside[1:] &= ~mask[:-1]
    inside[:-1] &= ~mask[1:]
    inside[:, 1:] &= ~mask[:, :-1]
    inside[:, :-1] &= ~mask[:, 1:]
    share = _mean_nearby(255 * inside)  # (H, W), of pixels inside
    garment = _mean_nearby(inside * difference) * 255  # (H, W), times that share
    edge = ~inside & (share > 0)
    opacity = np.ones_like(difference)
    opacity[edge] = np.minimum(difference[edge] * share[edge] / np.maximum(garment[edge], 1), 1)
    return opacity


def _mean_nearby(values: NDArray[Any]) -> Floats:
    """Return the mean (H, W) of the values (H, W), 0 to 255, around each."""
    image = Image.fromarray(values.astype(np.uint8))
    return np.asarray(image.filter(NEARBY), np.float32)


def _fitted_plane(pixels: Floats) -> tuple[Floats, float]:
    """Return a plane (H, W) through the border's pixels, and their deviation from it."""
    rows, columns, terms = _coordinates(*pixels.shape)
    border = _border(pixels)  # (B,)
    factors = np.array([_median(border), 0, 0], np.float32)
    away = np.abs(border - factors[0])  # (B,)
    limit = float(OUTLIER)
    for _ in range(FITS):
        few = terms[away <= limit]  # (K, 3)
        if len(few) <= len(border) // 4:
            break
        try:
            factors = np.linalg.solve(few.T @ few, few.T @ border[away <= limit])
        except np.linalg.LinAlgError:  # an image of one row or column
            break
        away = np.abs(border - terms @ factors)  # (B,)
        limit = max(TOLERANCE, 2.5 * _median(away))
    noise = 1.48 * _median(away)  # a normal deviation
    return factors[0] + factors[1] * rows + factors[2] * columns, noise


@lru_cache(maxsize=256)
def _coordinates(height: int, width: int) -> tuple[Floats, Floats, Floats]:
    """Return a plane's coordinates, from -1 to 1: rows (H, 1), columns (1, W), border (B, 3)."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]  # (H, 1)
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]  # (1, W)
    terms = [_border(np.broadcast_to(axis, (height, width))) for axis in (rows, columns)]
    return rows, columns, np.stack([np.ones_like(terms[0]), *terms], axis=1)


def _median(values: Floats) -> float:
    """Return the median (the upper one); NumPy's own takes ten times as long for few values."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _border(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _connected_to_border(candidates: Mask) -> Mask:
    """Return the candidates (H, W) that are connected to the border by candidates.

    The pixels are the bits of one large integer, so that a step in each direction is a shift.
    """
    height, width = candidates.shape
    padded = np.zeros((height + 2, width + 2), bool)  # a step beyond a row does not reach the next
    padded[1:-1, 1:-1] = candidates
    allowed = _bits(padded)
    padded[2:-2, 2:-2] = False
    found, before = _bits(padded), 0
    row = width + 2
    while found != before:
        before = found
        found |= (found << 1 | found >> 1 | found << row | found >> row) & allowed
    flat = np.frombuffer(found.to_bytes(-(-padded.size // 8)), np.uint8)
    spread = np.unpackbits(flat, count=padded.size).reshape(padded.shape)  # (H + 2, W + 2)
    return spread[1:-1, 1:-1].view(bool)


def _bits(mask: Mask) -> int:
    return int.from_bytes(np.packbits(mask).tobytes())
