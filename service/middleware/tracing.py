"""ASGI middleware that creates OpenTelemetry spans from the timing of each request.

Imported only if `FASHION_TRACING` is on: importing the exporter takes time and memory.
OpenTelemetry's own variables set the destination, the sampling and the service name.

Source of the names: OpenTelemetry's semantic conventions for HTTP spans; of the headers that link
a request to its caller's trace: W3C Trace Context.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.access_log import MAX_LOGGED_PATH, TRACE_ID
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_timing import RequestTiming, timing
from service.telemetry.tracing import rate_limit_opentelemetry_log, tracer_provider
from service.version import SERVER, SERVER_VERSION

CONTEXT = (b"traceparent", b"tracestate")

# A client may send any method, but span names must have few values.
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)

SHUTDOWN_SECONDS = 3.0  # to send the last spans if the collector is slow or unreachable


class TracingMiddleware:
    """Create a span for each request, with a child span for each of its parts."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        """Wrap app.

        Args:
            app: the application; `InstrumentationMiddleware` must be outside this middleware.
            routes: the routes that spans are named after.

        Raises:
            TracingError: an OpenTelemetry variable is invalid.
        """
        self.app = app
        self.paths: dict[Any, str] = {route.endpoint: route.path for route in routes}
        self._provider = tracer_provider()
        self._tracer = self._provider.get_tracer(SERVER, SERVER_VERSION)
        self._propagator = TraceContextTextMapPropagator()
        rate_limit_opentelemetry_log()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and create its spans after the response, which adds no delay."""
        if scope["type"] != "http":
            await self.app(scope, receive, self._flushing(send))
            return
        status: int | None = None
        raised: Exception | None = None

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        except Exception as error:
            raised = error
            raise
        finally:
            self._record(scope, status, raised)

    def _flushing(self, send: Send) -> Send:
        async def flushing_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                # A daemon, so that an unresponsive collector does not keep the process alive.
                flush = threading.Thread(target=self._provider.shutdown, daemon=True)
                flush.start()
                flush.join(SHUTDOWN_SECONDS)
            await send(message)

        return flushing_send

    def _record(self, scope: Scope, status: int | None, raised: Exception | None) -> None:
        watch = timing(scope)
        clock = _Clock()
        route = self.paths.get(scope.get("endpoint"))
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        span = self._tracer.start_span(
            f"{'HTTP' if method == '_OTHER' else method} {route or ''}".rstrip(),
            self._propagator.extract(_carrier(scope)),
            SpanKind.SERVER,
            _attributes(scope, method, route, status),
            start_time=clock.at(watch.start),
        )
        if span.get_span_context().is_valid:
            scope[TRACE_ID] = format_trace_id(span.get_span_context().trace_id)
        if span.is_recording():
            _note_error(span, status, raised)
            self._record_parts(span, watch, clock)
        span.end(clock.now)

    def _record_parts(self, parent: Span, watch: RequestTiming, clock: "_Clock") -> None:
        context = set_span_in_context(parent)
        for name, start, end in watch.parts:
            span = self._tracer.start_span(name, context, start_time=clock.at(start))
            if name == "inference" and watch.runs:
                span.set_attributes(_inference(watch, start))
            span.end(clock.at(end))


class _Clock:
    """Convert `time.perf_counter` to nanoseconds since 1970."""

    def __init__(self) -> None:
        self.now = time.time_ns()
        self._counter = time.perf_counter()

    def at(self, counter: float) -> int:
        return self.now - int((self._counter - counter) * 1e9)


def _carrier(scope: Scope) -> dict[str, list[str]]:
    carrier: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if name in CONTEXT:
            carrier.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return carrier


def _attributes(scope: Scope, method: str, route: str | None, status: int | None) -> dict[str, Any]:
    client = scope.get("client")
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme"),
        "url.path": scope["path"][:MAX_LOGGED_PATH],
        "client.address": client[0] if client else None,
        "request_id": scope[REQUEST_ID],
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _inference(watch: RequestTiming, start: float) -> dict[str, Any]:
    first = watch.runs[0][0]
    return {
        "model.version": watch.model_version.decode(),
        "batch_size": max(images for _, images in watch.runs),
        "queue_ms": round((first - start) * 1e3, 3),
    }


def _note_error(span: Span, status: int | None, raised: Exception | None) -> None:
    """Mark server errors on the span; a client's error is not an error of the server."""
    if raised is not None:
        span.record_exception(raised)
        span.set_attribute("error.type", type(raised).__qualname__)
        span.set_status(StatusCode.ERROR, str(raised))
    elif status is not None and status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
