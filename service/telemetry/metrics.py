"""What Prometheus is told. Labels take their values from short lists, whatever clients send."""

import os
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.telemetry.flusher import MetricsFlusher
from service.telemetry.multiprocess import MULTIPROC_DIR_VARIABLE


class BulkHistogram(Histogram):
    """A histogram that takes many values in the time of a few; its own way takes 2 us for each."""

    def observe_many(self, values: NDArray[np.floating[Any]]) -> None:
        """Count values (N,)."""
        found = np.bincount(
            np.searchsorted(self._upper_bounds, values), minlength=len(self._upper_bounds)
        )
        for bucket, count in zip(self._buckets, found.tolist(), strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(float(values.sum()))


REQUESTS = Counter(
    "fashion_requests",
    "Requests answered; status 499: the client went away before.",
    ["route", "status"],
)
REQUEST_DURATION = BulkHistogram(
    "fashion_request_seconds",
    "Time from a request's first byte to its answer's last.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
STAGES = ("decode", "inference")
STAGE_SECONDS = BulkHistogram(
    "fashion_stage_seconds",
    "Time that a request spends in a stage, waiting for its turn among it: decode, inference.",
    ["stage"],
    buckets=(
        0.0001,
        0.00025,
        0.0005,
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        1,
        5,
    ),
)
MODEL_INFO = Gauge(
    "fashion_model",
    "1 for the model that is served.",
    ["name", "version", "device"],
    multiprocess_mode="livemax",
)


RELOADS = Counter(
    "fashion_model_reloads",
    "SIGHUPs taken: the model was changed, unchanged, or kept for a fault of the new file.",
    ["result"],
)
for result in ("changed", "unchanged", "kept"):
    RELOADS.labels(result)  # from 0 on, since Prometheus sees no increase in what was not there


BATCHES = BulkHistogram(
    "fashion_batch_images",
    "Images in one run of the network.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
PREDICTIONS = Counter("fashion_predictions", "Images classified, by the class found.", ["label"])
REQUESTS_IN_FLIGHT = Gauge(
    "fashion_requests_in_hand",
    "Requests begun and not answered, on average over some 10 seconds.",
    multiprocess_mode="livesum",
)


class ModelLabels(NamedTuple):
    """What tells one model from another in the metrics."""

    name: str
    version: str
    device: str


def set_model_info(model: ModelLabels, before: ModelLabels | None = None) -> None:
    """Tell which model is served, and on what, and that the one before is no longer."""
    if before is not None:
        MODEL_INFO.labels(*before).set(0)
    MODEL_INFO.labels(*model).set(1)


class RunCounter:
    """Counts the runs of a network, their images, and the classes found."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Count by labels, K, the names of the network's classes."""
        self._counters = [PREDICTIONS.labels(label) for label in labels]
        self._runs: deque[NDArray[np.float32]] = deque()

    def add(self, found: NDArray[np.float32]) -> None:
        """Take what a run found, the logits or the probabilities (N, K); in any thread."""
        self._runs.append(found)

    def flush(self) -> None:
        """Let the metrics know of the runs since the last time."""
        runs = [self._runs.popleft() for _ in range(len(self._runs))]
        if not runs:
            return
        BATCHES.observe_many(np.array([len(found) for found in runs]))
        classes = np.concatenate(runs).argmax(axis=1)  # (N,)
        images = np.bincount(classes, minlength=len(self._counters))  # (K,)
        for counter, number in zip(self._counters, images.tolist(), strict=True):
            if number:
                counter.inc(number)


def exposition() -> bytes:
    """Return the metrics of all workers of this server, in Prometheus's text format.

    Of this worker all that has happened is among them; what happened to others in the last half
    second may not be.
    """
    MetricsFlusher.flush_all()
    registry = REGISTRY  # of this worker alone, where there was no place for the files of all
    if MULTIPROC_DIR_VARIABLE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
