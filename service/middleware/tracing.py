"""ASGI middleware that creates an OpenTelemetry span of each request.

Imported only if `FASHION_TRACING` is on: importing the exporter takes time and memory.

Source of the names: OpenTelemetry's semantic conventions for HTTP spans.
"""

from collections.abc import Iterable
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.access_log import MAX_LOGGED_PATH, TRACE_ID
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_timing import timing
from service.telemetry.spans import SpanRecorder

# A client may send any method, but span names must have few values.
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)


class TracingMiddleware:
    """Create a span for each request, with a child span for each of its parts."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route], spans: SpanRecorder) -> None:
        """Wrap app.

        Args:
            app: the application; `InstrumentationMiddleware` must be outside this middleware.
            routes: the routes that spans are named after.
            spans: takes each request; closed when the application has shut down.
        """
        self.app = app
        self.paths: dict[Any, str] = {route.endpoint: route.path for route in routes}
        self._spans = spans

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
                self._spans.close()
            await send(message)

        return flushing_send

    def _record(self, scope: Scope, status: int | None, raised: Exception | None) -> None:
        route = self.paths.get(scope.get("endpoint"))
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        failed = str(status) if status is not None and status >= 500 else None
        trace_id = self._spans.record(
            f"{'HTTP' if method == '_OTHER' else method} {route or ''}".rstrip(),
            _attributes(scope, method, route, status),
            scope["headers"],
            timing(scope),
            raised or failed,
        )
        if trace_id is not None:
            scope[TRACE_ID] = trace_id


def _attributes(scope: Scope, method: str, route: str | None, status: int | None) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme"),
        "url.path": scope["path"][:MAX_LOGGED_PATH],
        "client.address": client[0] if client else None,
        "request_id": scope[REQUEST_ID],
    }
