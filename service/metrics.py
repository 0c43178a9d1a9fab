"""What Prometheus is told. Labels take their values from short lists, whatever clients send."""

import time
from collections.abc import Collection

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.model import Model

REQUESTS = Counter("fashion_requests", "Requests answered.", ["route", "status"])
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


class Measured:
    """ASGI middleware that counts and times the requests passing through it."""

    def __init__(self, app: ASGIApp, routes: Collection[str]) -> None:
        """Measure app, by these routes; a path that is none of them counts as `other`."""
        self.app = app
        self.routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its status and time when it is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        route = scope["path"] if scope["path"] in self.routes else "other"

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(route, message["status"]).inc()
            await send(message)

        await self.app(scope, receive, noting_send)
        SECONDS.labels(route).observe(time.perf_counter() - start)


def note_model(model: Model) -> None:
    """Tell which model is served, and on what."""
    SERVED.labels(model.name, model.version, model.device).set(1)


def metrics_response() -> Response:
    """Answer with the metrics of all workers of this server, in Prometheus's text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
