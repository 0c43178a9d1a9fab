"""Find the background of a photograph: what is connected to the border and of the border's colour.

The border's brightness may change evenly over the picture, as light does: a plane is fitted to it,
by least squares on what does not stand out (twice, so that a garment at the border does not count).
A pixel is background if it is near the plane and connected to the border by such pixels, so that
what has the background's brightness within the garment stays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TOLERANCE = 13  # 5 % of 255, as in the paper of the data set
NOISE_TOLERANCE = 40  # the most that a noisy border makes of it
DEVIATIONS = 4  # of the border's own noise that are background still
FITS = 2
OUTLIER = 30  # from the median of the border
SWEEPS = 4  # in each of four directions: a winding way to the border needs several

Mask = NDArray[np.bool_]


def background_of(grey: Image.Image, size: tuple[int, int]) -> Mask:
    """Return which pixels of an image are its background, (H, W).

    Args:
        grey: in 8-bit grey, of any size.
        size: width and height of the search, at most `grey`'s; the result has the size of `grey`.
    """
    small = grey if size == grey.size else grey.resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)  # (h, w)
    plane, noise = _fitted_plane(pixels)
    tolerance = max(TOLERANCE, min(NOISE_TOLERANCE, DEVIATIONS * noise))
    found = _connected_to_border(np.abs(pixels - plane) <= tolerance)
    if size == grey.size:
        return found
    large = Image.fromarray(found).resize(grey.size, Image.Resampling.NEAREST)
    return np.asarray(large)


def _fitted_plane(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return a plane (h, w) through the border's pixels, and their deviation from it."""
    rows = np.linspace(-1, 1, pixels.shape[0], dtype=np.float32)[:, None]  # (h, 1)
    columns = np.linspace(-1, 1, pixels.shape[1], dtype=np.float32)[None]  # (1, w)
    border = _border(pixels)  # (B,)
    terms = np.ones((len(border), 3), np.float32)  # (B, 3)
    terms[:, 1] = _border(np.broadcast_to(rows, pixels.shape))
    terms[:, 2] = _border(np.broadcast_to(columns, pixels.shape))
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


def _median(values: NDArray[np.float32]) -> float:
    """Return the median (the upper one); NumPy's own takes ten times as long for few values."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _border(values: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _connected_to_border(candidates: Mask) -> Mask:
    """Return the candidates (h, w) that are connected to the border by candidates."""
    found = np.zeros_like(candidates)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        found[edge] = candidates[edge]
    count = np.count_nonzero(candidates)
    for _ in range(SWEEPS):
        before = np.count_nonzero(found)
        for turned, allowed in (
            (found, candidates),
            (found[:, ::-1], candidates[:, ::-1]),
            (found.T, candidates.T),
            (found.T[:, ::-1], candidates.T[:, ::-1]),
        ):
            _spread(turned, allowed)
        if np.count_nonzero(found) in (before, count):
            break
    return found


def _spread(found: Mask, candidates: Mask) -> None:
    """Spread what is found along each row, to the right, until a pixel that is no candidate."""
    place = np.arange(1, found.shape[1] + 1, dtype=np.uint16)  # (w,)
    last_found = np.maximum.accumulate(found * place, axis=1)  # (h, w)
    last_stop = np.maximum.accumulate(~candidates * place, axis=1)  # (h, w)
    found |= last_found > last_stop
