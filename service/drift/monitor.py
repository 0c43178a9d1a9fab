"""Looks at every image that the network is given, and says which are unlike its training set.

The scores are one more output of the network, named `squared_shift`: they are made for a whole
batch at a time, and each request gets its own.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.arrays import Arrays, Infer
from service.drift.statistics import (
    PIECE,
    SQUARED_DISTANCE_OUTPUT,
    Floats,
    InputStatistics,
    squared_norms,
)
from service.drift.window import DriftWindow

# Of images whose shifts nobody asks for a sample will do, scored when the metrics are told.
SAMPLE = PIECE  # of a batch
SAMPLES = 32  # until then


class InputMonitor:
    """Runs a network, and watches what goes in."""

    def __init__(self, statistics: InputStatistics, infer: Infer) -> None:
        """Watch the images that infer is given.

        Args:
            statistics: of the training set.
            infer: gives the outputs named, (N, K) each, of images (N, 1, 28, 28).
        """
        from service.drift.metrics import report_inputs  # only a worker has a folder for metrics

        self.statistics = statistics
        self._tell = report_inputs
        self._infer = infer
        self._window = DriftWindow(statistics)
        self._scored: deque[Floats] = deque()  # (f - m) L of each batch
        self._sampled: deque[NDArray[np.uint8]] = deque()

    def infer(self, images: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        """Return the outputs named, `squared_shift` (N, 1) among them where it is asked for."""
        if SQUARED_DISTANCE_OUTPUT not in outputs:
            arrays = self._infer(images, outputs)
            if len(self._sampled) < SAMPLES:
                self._sampled.append(images[:: -(-len(images) // SAMPLE)].copy())
            return arrays
        arrays = self._infer(images, [name for name in outputs if name != SQUARED_DISTANCE_OUTPUT])
        whitened = self.statistics.whitened(images)  # (N, 3C)
        self._scored.append(whitened)
        arrays.insert(
            outputs.index(SQUARED_DISTANCE_OUTPUT), squared_norms(whitened)[:, None]
        )  # (N, 1)
        return arrays

    def flush(self) -> None:
        """Let the metrics know of the images since the last time."""
        scored = [self._scored.popleft() for _ in range(len(self._scored))]
        sampled = [self._sampled.popleft() for _ in range(len(self._sampled))]
        if sampled:
            scored.append(self.statistics.whitened(np.concatenate(sampled)))
        if scored:
            whitened = np.concatenate(scored)  # (N, 3C)
            self._window.add(whitened)
            self._tell(self.statistics, np.sqrt(squared_norms(whitened)), self._window)
