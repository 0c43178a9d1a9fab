"""What goes wrong, as answers: always JSON, `{"error": ...}`, with the right status."""

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import RequestError
from service.http.responses import json_response
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID

LONGEST_PATH = 200  # of a path that is no route, in an answer


async def request_error(request: Request, error: RequestError) -> Response:
    """Answer a request that cannot be answered otherwise."""
    return json_response({"error": str(error)}, error.status, error.headers)


async def http_exception(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette itself refuses: an unknown path, a method not allowed."""
    # Not request.url, which a broken header Host keeps from being made.
    path, method = request.scope["path"], request.method
    if len(path) > LONGEST_PATH:
        path = f"{path[:LONGEST_PATH]}..."
    messages = {
        404: f"there is no {path} here: GET /docs.json lists what there is",
        405: f"{path} does not take {method}: see the header Allow",
    }
    message = messages.get(error.status_code, error.detail)
    return json_response({"error": message}, error.status_code, error.headers)


async def client_disconnect(request: Request, error: ClientDisconnect) -> Response:
    """Answer, though nobody listens any more."""
    return json_response({"error": "the client went away before its request was whole"}, 400)


async def unexpected(request: Request, error: Exception) -> Response:
    """Answer a fault of ours; Starlette raises it again, for the middleware around it to log."""
    message = "the service failed; its log says why"
    if identity := request.scope.get(REQUEST_ID):
        message += f", under {identity}"
    return json_response({"error": message}, 500)


def error_of(body: bytes) -> str:
    """Return the text of an answer that is an error, for the log."""
    try:
        return str(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""  # it is none of ours


HANDLERS: dict[Any, Any] = {
    RequestError: request_error,
    HTTPException: http_exception,
    ClientDisconnect: client_disconnect,
    Exception: unexpected,
}


class JSONErrorMiddleware:
    """ASGI middleware that turns an application's error answers into ours."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; hold an error answer back and raise it.

        Raises:
            HTTPException: app answered with 400 or above.
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
