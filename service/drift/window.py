"""Drift of a stream of images, also if no single image is an outlier."""

import numpy as np
from numpy.typing import NDArray

from service.drift.statistics import Floats, InputStatistics


class DriftWindow:
    """The mean of the latest images' statistics, compared with the training set's."""

    def __init__(self, statistics: InputStatistics) -> None:
        """Start without images."""
        self._statistics = statistics
        self._latest = np.zeros((0, len(statistics.mean)), np.float32)  # (f - m) L

    def add(self, whitened: Floats) -> None:
        """Add the (f - m) L, (N, 3C), of N more images, in order."""
        size = self._statistics.window
        self._latest = np.concatenate([self._latest, whitened])[-size:]  # (<= window, 3C)

    @property
    def drift(self) -> float:
        """Mahalanobis distance of the mean, in units of its limit; 0 until the window is full."""
        if len(self._latest) < self._statistics.window:
            return 0.0
        return float(np.linalg.norm(self._mean)) / self._statistics.drift_limit

    @property
    def channel_means(self) -> NDArray[np.float64]:
        """Each channel's mean (C,) before the first batch norm, over one image or more."""
        return self._statistics.channel_means(self._mean)

    @property
    def _mean(self) -> NDArray[np.float64]:
        return np.asarray(self._latest.mean(axis=0, dtype=np.float64))  # (3C,)
