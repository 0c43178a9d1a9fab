"""The Prometheus metrics. Label values come from short lists, whatever clients send."""

import json
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

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

from service.telemetry.flusher import FLUSHER
from service.telemetry.multiprocess import CLASS_BYTES, MULTIPROC_DIR_VARIABLE


class BulkHistogram(Histogram):
    """A histogram that observes many values at once; `observe` takes 2 us for each."""

    def observe_many(self, values: NDArray[np.floating[Any]]) -> None:
        """Observe values (N,)."""
        found = np.bincount(
            np.searchsorted(self._upper_bounds, values), minlength=len(self._upper_bounds)
        )
        for bucket, count in zip(self._buckets, found.tolist(), strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(float(values.sum()))


REQUESTS = Counter(
    "fashion_requests",
    "Requests answered; status 499: the client disconnected before the response.",
    ["route", "status"],
)
REQUEST_DURATION = BulkHistogram(
    "fashion_request_seconds",
    "Time from a request's first byte to the last byte of its response.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
STAGES = ("decode", "inference")
STAGE_SECONDS = BulkHistogram(
    "fashion_stage_seconds",
    "Time that a request spends in a stage, including its wait in the queue: decode, inference.",
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
    "1 for a model that is served, 0 for one that was.",
    ["name", "version", "device"],
    multiprocess_mode="livemax",
)


RELOADS = Counter(
    "fashion_model_reloads",
    "SIGHUPs handled: the model was changed, unchanged, or kept because the new file is invalid.",
    ["model", "result"],
)
INFERENCE_SECONDS = BulkHistogram(
    "fashion_inference_seconds",
    "Time that a request waits for a model and its answer.",
    ["model"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
BATCHES = BulkHistogram(
    "fashion_batch_images",
    "Images in one run of a model.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
PREDICTIONS = Counter(
    "fashion_predictions",
    "Images classified, by predicted class; of those beyond a model's first thousand together.",
    ["model", "label"],
)
MOST_CLASSES, OTHER_CLASSES = 1000, "other classes"
MOST_MODELS, OTHER_MODELS = 50, "other models"
COUNTER_BYTES = 400  # of one class in the client's file, beside its name; rounded up
REQUESTS_IN_FLIGHT = Gauge(
    "fashion_requests_in_hand",
    "In-flight requests, averaged over about 10 seconds.",
    multiprocess_mode="livesum",
)


class _ModelLabels:
    """The label values of the models that this worker has served.

    A series is never freed, and its file has a fixed size (`multiprocess.preallocate`): once there
    are too many models, further ones share a label.
    """

    def __init__(self) -> None:
        self._own: set[str] = set()

    def find(self, name: str) -> str:
        """Return the value for a model's name."""
        if name not in self._own and len(self._own) == MOST_MODELS:
            return OTHER_MODELS
        self._own.add(name)
        return name


MODEL_LABELS = _ModelLabels()


def start_reload_counters(name: str) -> None:
    """Have a model's reloads start at 0: Prometheus sees no increase in a new series."""
    for result in ("changed", "unchanged", "kept"):
        RELOADS.labels(MODEL_LABELS.find(name), result)


class _ClassCounters:
    """The counters of the classes of all models that this worker has served.

    A counter is never freed, and its file has a fixed size (`multiprocess.preallocate`). Once a
    model has too many, or all their names are too long, further classes of the model share one.
    """

    def __init__(self) -> None:
        self._own: dict[str, dict[str, Counter]] = {}
        self._bytes = 0

    def find(self, model: str, label: str) -> Counter:
        """Return the counter of a model's class."""
        own = self._own.setdefault(model, {})
        if label not in own:
            size = COUNTER_BYTES + len(json.dumps(label)) + len(model)
            if len(own) == MOST_CLASSES or self._bytes + size > CLASS_BYTES:
                return PREDICTIONS.labels(model, OTHER_CLASSES)
            self._bytes += size
            own[label] = PREDICTIONS.labels(model, label)
        return own[label]


_COUNTERS = _ClassCounters()


class RunCounter:
    """Count the runs of a model, their images, the predicted classes, and requests' times."""

    def __init__(self, model: str, labels: Sequence[str]) -> None:
        """Count by a model's name, and by labels (K,), the names of its classes."""
        model = MODEL_LABELS.find(model)
        self._counters = [_COUNTERS.find(model, label) for label in labels]
        self._batches, self._seconds = BATCHES.labels(model), INFERENCE_SECONDS.labels(model)
        self._runs: deque[NDArray[np.float32]] = deque()
        self._times: list[float] = []

    def add_time(self, seconds: float) -> None:
        """Take the time of a request's inference, on the event loop."""
        self._times.append(seconds)

    def add(self, found: NDArray[np.float32]) -> None:
        """Take the logits or probabilities (N, K) of a run; thread-safe."""
        self._runs.append(found)

    def flush(self) -> None:
        """Add the runs since the last flush to the metrics."""
        if self._times:
            times, self._times = self._times, []
            self._seconds.observe_many(np.array(times))
        runs = [self._runs.popleft() for _ in range(len(self._runs))]
        if not runs:
            return
        self._batches.observe_many(np.array([len(found) for found in runs]))
        classes = np.concatenate(runs).argmax(axis=1)  # (N,)
        images = np.bincount(classes, minlength=len(self._counters))  # (K,)
        for counter, number in zip(self._counters, images.tolist(), strict=True):
            if number:
                counter.inc(number)


def exposition() -> bytes:
    """Return the metrics of all workers of this server, in Prometheus's text format.

    The values of this worker are current; those of other workers may be half a second old.
    """
    FLUSHER.flush()
    registry = REGISTRY  # of this worker only, if the shared files could not be created
    if MULTIPROC_DIR_VARIABLE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
