"""ASGI middleware around everything: request id, stopwatch, metrics and log line."""

from collections.abc import Iterable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access_log import AccessLog
from service.metrics import REQUESTS, SECONDS
from service.request_ids import request_id
from service.timing import KEY, Timing

CLIENT_WENT_AWAY = 499  # nginx's number for it, for the log and the metrics alone


class Observed:
    """Names, times, counts and logs the requests that pass through it."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route], log: AccessLog) -> None:
        """Observe app.

        Args:
            app: what answers.
            routes: the routes to count by; a path that is none of them counts as `other`.
            log: takes a line for each request.
        """
        self.app = app
        self.paths: dict[Any, str] = {route.endpoint: route.path for route in routes}
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its status and time when it is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        timing = scope[KEY] = Timing()
        identity = request_id(scope)
        status = CLIENT_WENT_AWAY

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = identity
                headers["Server-Timing"] = timing.header()
            await send(message)

        try:
            await self.app(scope, receive, noting_send)
        finally:
            route = self.paths.get(scope.get("endpoint"), "other")
            REQUESTS.labels(route, status).inc()
            SECONDS.labels(route).observe(timing.total)
            self.log.write(scope, identity, status, timing)
