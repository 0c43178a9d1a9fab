"""The outermost ASGI middleware: request id, timing, metrics and access log."""

import logging
from collections.abc import Iterable
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.error_responses import error_of
from service.http.headers import secure
from service.http.scope import CONNECTION, Connection
from service.telemetry.access_log import AccessLog
from service.telemetry.request_id import HEADER, request_id
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_metrics import RequestMetrics
from service.telemetry.request_timing import SCOPE_KEY, RequestTiming

logger = logging.getLogger("bentoml.fashion_lenet")

MODEL_VERSION = b"x-model-version"  # of the model that was used

CLIENT_WENT_AWAY = 499  # nginx's status for a client disconnect, used in the log and the metrics

# Machines request these every few seconds; they are logged only if they fail.
PROBES = frozenset(
    (
        *("/livez", "/readyz", "/healthz", "/metrics"),
        *("/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"),
    )
)


class InstrumentationMiddleware:
    """Give each request an id, and time, count and log it."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route], log: AccessLog) -> None:
        """Wrap app.

        Args:
            app: the application; before it raises, it sends 500.
            routes: the routes to count by; any other path counts as `other`.
            log: takes a line for each request.
        """
        self.app = app
        self.paths: dict[Any, str] = {route.endpoint: route.path for route in routes}
        self.log = log
        self._metrics = RequestMetrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its status and time after the response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _RequestRecord(scope, send)
        try:
            await self.app(scope, receive, exchange.send)
        except Exception:  # app has sent 500; raised further, it would be logged without the id
            exchange.status = 500
            logger.exception("Request %s failed:", exchange.identity)
        finally:
            route = self.paths.get(scope.get("endpoint"), "other")
            timing = exchange.timing
            self._metrics.add(route, exchange.status, timing)
            if route not in PROBES or exchange.status != 200:
                self.log.write(scope, exchange.status, timing, exchange.error)


class _RequestRecord:
    """The id, timing, status and error of one request, recorded while it is sent."""

    __slots__ = ("_send", "connection", "error", "identity", "status", "timing")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.timing = scope[SCOPE_KEY] = RequestTiming()
        self.identity = scope[REQUEST_ID] = request_id(scope)
        self.status = CLIENT_WENT_AWAY
        self.error = "the client disconnected before the response"
        self.connection: Connection | None = scope.get(CONNECTION)
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self.connection or not self.connection.is_closing():
                self.status, self.error = message["status"], ""
            message["headers"] = [
                *message.get("headers", ()),
                (HEADER, self.identity.encode()),
                (b"server-timing", self.timing.header().encode()),
            ]
            secure(message["headers"])
            if self.timing.model_version:
                message["headers"].append((MODEL_VERSION, self.timing.model_version))
        await self._send(message)
        if body := message.get("body"):
            self.timing.stop()
            if 400 <= self.status != CLIENT_WENT_AWAY:
                self.error = error_of(body)
