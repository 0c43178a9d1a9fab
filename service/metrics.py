"""What Prometheus is told. Labels take their values from short lists, whatever clients send."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response

from service.metric_files import FOLDER
from service.model import Model

REQUESTS = Counter(
    "fashion_requests",
    "Requests answered; status 499: the client went away before.",
    ["route", "status"],
)
SECONDS = Histogram(
    "fashion_request_seconds",
    "Time from a request's first byte to its answer's last.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SERVED = Gauge(
    "fashion_model",
    "1 for the model that is served.",
    ["name", "version", "device"],
    multiprocess_mode="livemax",
)


RELOADS = Counter(
    "fashion_model_reloads",
    "SIGHUPs taken, by what came of them: changed, or kept for a fault of the new model.",
    ["result"],
)


def note_model(model: Model, before: Model | None = None) -> None:
    """Tell which model is served, and on what, and that the one before is no longer."""
    if before is not None:
        SERVED.labels(before.name, before.version, before.device).set(0)
    SERVED.labels(model.name, model.version, model.device).set(1)


def metrics_response() -> Response:
    """Answer with the metrics of all workers of this server, in Prometheus's text format."""
    registry = REGISTRY  # of this worker alone, where there was no place for the files of all
    if FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
