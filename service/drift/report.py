"""The report on an image: its outlier score, and a hint in words if it is unusual.

The hints are rules of thumb, a starting point for a person; no decision depends on them.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from service.drift.statistics import SIDE, InputStatistics

BLANK = 4.0  # standard deviation of all pixels, 0 to 255
NOISE = 0.8  # mean step to the next pixel, in standard deviations; white noise has 1.1
LIGHT = 127  # above it a background is light, as in `service.preprocessing.fashion_mnist`


class InputReport(TypedDict):
    """How a picture compares with those that the model was trained on."""

    shift: Annotated[
        float, Field(description="its distance from them; beyond 1 are 1 % of their own")
    ]
    unusual: Annotated[bool, Field(description="whether the shift is above 1")]
    hint: Annotated[str, Field(description="what an unusual one looks like, else empty")]


def input_reports(
    statistics: InputStatistics, images: NDArray[np.uint8], squared_shifts: Sequence[float]
) -> list[InputReport]:
    """Return the reports on images (N, 28, 28), of their N squared outlier scores."""
    unusual = [index for index, squared in enumerate(squared_shifts) if squared > 1]
    found = (
        dict(zip(unusual, explain_outliers(statistics, images[unusual]), strict=True))
        if unusual
        else {}
    )
    return [
        {
            "shift": round(math.sqrt(squared), 3),
            "unusual": index in found,
            "hint": found.get(index, ""),
        }
        for index, squared in enumerate(squared_shifts)
    ]


def explain_outliers(statistics: InputStatistics, images: NDArray[np.uint8]) -> list[str]:
    """Return a hint for each of some unusual images (M, 28, 28)."""
    pixels = images.astype(np.float32)  # (M, 28, 28)
    means = pixels.mean(axis=(1, 2))  # (M,)
    deviations = _sizes(pixels - means[:, None, None])  # (M,)
    across, down = pixels[:, :, 1:] - pixels[:, :, :-1], pixels[:, 1:] - pixels[:, :-1]
    steps = (np.abs(across).mean(axis=(1, 2)) + np.abs(down).mean(axis=(1, 2))) / 2  # (M,)
    low, high = statistics.brightness
    found = {
        "looks blank: one shade all over": deviations < BLANK,
        "looks like noise: neighbouring pixels have little in common": steps > NOISE * deviations,
        "looks negated: light background?": _are_negated(statistics, images),
        "brighter than the training images": means > high,
        "darker than the training images": means < low,
        "unlike the training images": np.full(len(images), True),
    }
    texts = list(found)
    first = np.argmax(list(found.values()), axis=0)  # (M,), the first that is true
    return [texts[index] for index in first.tolist()]


def _sizes(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean squares (M,) of pixels (M, 28, 28)."""
    flat = pixels.reshape(-1, SIDE**2)  # (M, 784)
    sizes: NDArray[np.float32] = np.sqrt(np.vecdot(flat, flat) / SIDE**2)
    return sizes  # (M,)


def _are_negated(statistics: InputStatistics, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether images (M, 28, 28) have a light edge and score lower when negated, (M,)."""
    edges = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]  # (M, 28) each
    light: NDArray[np.bool_] = (np.concatenate(edges, axis=1) > LIGHT).mean(axis=1) > 0.5  # (M,)
    if light.any():
        both = np.concatenate([images[light], 255 - images[light]])[:, None]  # (2L, 1, 28, 28)
        found, negated = statistics.mahalanobis_distances(both).reshape(2, -1)  # (L,) each
        light[light] = negated < found
    return light  # (M,)
