"""Error responses: always JSON, `{"error": ...}`, with the HTTP status of the error."""

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import RequestError
from service.http.responses import Answer, json_response
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID

MAX_SHOWN_PATH = 200  # characters of an unknown path in an error


def error_response(error: RequestError) -> Answer:
    """Return the response to a RequestError, for middleware that rejects a request."""
    return json_response({"error": str(error)}, error.status, error.headers)


def store_route(scope: Scope, routes: Iterable[Route]) -> None:
    """Store a rejected request's route in its scope for the metrics, because no router runs."""
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            scope.update(found)
            return


async def request_error(request: Request, error: RequestError) -> Response:
    """Return the response to a RequestError."""
    return error_response(error)


async def http_exception(request: Request, error: HTTPException) -> Response:
    """Return the response to Starlette's own errors: unknown path, method not allowed."""
    # Not request.url, which cannot be built if the Host header is broken.
    path, method = request.scope["path"], request.method
    if len(path) > MAX_SHOWN_PATH:
        path = f"{path[:MAX_SHOWN_PATH]}..."
    messages = {
        404: f"there is no route {path}: GET /docs.json lists the routes",
        405: f"{path} does not take {method}: see the header Allow",
    }
    message = messages.get(error.status_code, error.detail)
    return json_response({"error": message}, error.status_code, error.headers)


async def client_disconnect(request: Request, error: ClientDisconnect) -> Response:
    """Return a response for a disconnected client, which cannot receive it."""
    return json_response({"error": "the client disconnected before its request was complete"}, 400)


async def unexpected(request: Request, error: Exception) -> Response:
    """Return 500 for an internal error; Starlette raises it again for the middleware to log."""
    message = "the service failed; its log says why"
    if identity := request.scope.get(REQUEST_ID):
        message += f", under {identity}"
    return json_response({"error": message}, 500)


def error_of(body: bytes) -> str:
    """Return the error text of an error response's body, for the log."""
    try:
        return str(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""  # not one of our error responses


HANDLERS: dict[Any, Any] = {
    RequestError: request_error,
    HTTPException: http_exception,
    ClientDisconnect: client_disconnect,
    Exception: unexpected,
}


class JSONErrorMiddleware:
    """ASGI middleware that replaces an application's error responses by ours."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; hold back an error response and raise it instead.

        Raises:
            HTTPException: app's status is 400 or above.
        """
        refused: int | None = None

        async def checking_send(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message["status"]
            if refused is None:
                await send(message)

        await self.app(scope, receive, checking_send)
        if refused is not None:
            raise HTTPException(refused)
