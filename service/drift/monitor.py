"""The input monitor: outlier scores of the network's input images, for responses and metrics.

The squared scores are one more output beside the network's own, named `squared_shift`. They are
computed for a whole batch at a time, and each request gets its own rows.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.arrays import Arrays, Infer
from service.drift.metrics import end_inputs, report_inputs, start_inputs
from service.drift.statistics import (
    IMAGES_AT_ONCE,
    SQUARED_DISTANCE_OUTPUT,
    Floats,
    InputStatistics,
    squared_norms,
)
from service.drift.window import DriftWindow
from service.telemetry.metrics import MODEL_LABELS

# If no request asks for the scores, only a sample of the images is scored, at the next flush.
SAMPLE = IMAGES_AT_ONCE  # images of a batch
SAMPLES = 32  # batches between two flushes


class InputMonitor:
    """Runs a network, and scores its input images."""

    def __init__(self, model: str, statistics: InputStatistics, infer: Infer) -> None:
        """Monitor the input images of infer.

        Args:
            model: the name of the model.
            statistics: of the training set.
            infer: returns the named outputs, (N, K) each, for images (N, C, H, W).
        """
        self.statistics = statistics
        self._model = MODEL_LABELS.find(model)
        start_inputs(self._model)
        self._infer = infer
        self._window = DriftWindow(statistics)
        self._scored: deque[Floats] = deque()  # (f - m) L of each batch
        self._sampled: deque[NDArray[np.uint8]] = deque()

    def infer(self, images: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        """Return the named outputs, which may include `squared_shift` (N, 1)."""
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

    def close(self) -> None:
        """Report no drift any more."""
        end_inputs(self._model)

    def flush(self) -> None:
        """Update the metrics with the images since the last flush."""
        scored = [self._scored.popleft() for _ in range(len(self._scored))]
        sampled = [self._sampled.popleft() for _ in range(len(self._sampled))]
        if sampled:
            scored.append(self.statistics.whitened(np.concatenate(sampled)))
        if scored:
            whitened = np.concatenate(scored)  # (N, 3C)
            self._window.add(whitened)
            report_inputs(
                self._model, self.statistics, np.sqrt(squared_norms(whitened)), self._window
            )
