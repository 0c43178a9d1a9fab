"""In words, what may be the matter with an image that is unlike the training set.

Rules of thumb, for a person to start from; they decide nothing.
"""

import numpy as np
from numpy.typing import NDArray

from service.input_statistics import SIDE, InputStatistics

BLANK = 4.0  # standard deviation of all pixels, 0 to 255
NOISE = 0.8  # mean step to the next pixel, in standard deviations; white noise has 1.1
LIGHT = 127  # as `service.photographs` tells a light background from a dark one


def hint(statistics: InputStatistics, image: NDArray[np.uint8]) -> str:
    """Say what an unusual image (28, 28) looks like."""
    pixels = image.astype(np.float32)  # (28, 28)
    deviation = float(pixels.std())
    if deviation < BLANK:
        return "looks blank: one shade all over"
    steps = np.abs(np.diff(pixels)).mean() + np.abs(np.diff(pixels, axis=0)).mean()
    if steps / 2 > NOISE * deviation:
        return "looks like noise: neighbouring pixels have little in common"
    if np.median(_edge(image)) > LIGHT and _is_nearer_negated(statistics, image):
        return "looks negated: light background?"
    low, high = statistics.brightness
    mean = float(pixels.mean())
    if mean > high:
        return "brighter than the training images"
    if mean < low:
        return "darker than the training images"
    return "unlike the training images"


def _edge(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    sides = image[0], image[-1], image[:, 0], image[:, -1]
    return np.concatenate(sides)


def _is_nearer_negated(statistics: InputStatistics, image: NDArray[np.uint8]) -> bool:
    both = np.stack([image, 255 - image]).reshape(2, 1, SIDE, SIDE)
    found, negated = statistics.shifts(both)
    return bool(negated < found)
