"""Figures of one run's logits against the reference's, added up batch by batch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.proof.deviation import absolute_errors, histogram


@dataclass(frozen=True)
class Run:
    """How far one run's logits are from the float64 reference's."""

    images: int
    max_error: float  # largest |difference| of a logit
    mean_error: float  # mean |difference| of the logits
    worst_image: int  # index of the image with the largest error
    classes_equal: int  # images for which the predicted class is the reference's
    wrong: tuple[int, ...]  # indices of the images for which it is not
    histogram: tuple[int, ...]  # of the errors, in `deviation.edges`


class Tally:
    """Adds up a run's figures."""

    def __init__(self) -> None:
        """Start with no images."""
        self._images = 0
        self._sum, self._numbers = 0.0, 0
        self._max, self._worst = -np.inf, 0
        self._wrong: list[int] = []
        self._histogram: NDArray[np.int_] | None = None

    def add(self, found: NDArray[np.floating], reference: NDArray[np.floating]) -> None:
        """Add a batch's logits, (B, K) each."""
        error = absolute_errors(found, reference)  # (B, K)
        counts = np.array(histogram(found, reference))
        self._histogram = counts if self._histogram is None else self._histogram + counts
        self._sum, self._numbers = self._sum + float(error.sum()), self._numbers + error.size
        # NaN is larger than every number, and stays.
        ranked = np.where(np.isnan(error), np.inf, error).max(axis=1)  # (B,)
        worst = int(ranked.argmax())
        if ranked[worst] > self._max:
            self._max, self._worst = float(ranked[worst]), self._images + worst
        other = np.flatnonzero(found.argmax(axis=1) != reference.argmax(axis=1))
        self._wrong += [self._images + int(index) for index in other]
        self._images += len(found)

    def run(self) -> Run:
        """Return the figures of all batches, one at least."""
        counts = () if self._histogram is None else tuple(self._histogram.tolist())
        return Run(
            images=self._images,
            max_error=self._max,
            mean_error=self._sum / self._numbers,
            worst_image=self._worst,
            classes_equal=self._images - len(self._wrong),
            wrong=tuple(self._wrong),
            histogram=counts,
        )
