"""ASGI middleware that limits concurrent requests and the time of each.

It applies to POST requests only; probes, metrics and pages are always served.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from random import random

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded, RequestError, RequestTimeout, Timeout
from service.http.error_responses import error_response, store_route
from service.http.scope import INFLATED, ON_DISCONNECT
from service.inference.load_limiter import LoadLimiter
from service.middleware.body_budget import Body, BodyBudget
from service.settings import ServiceSettings

# As in Overloaded's Retry-After, plus a random 0 to 50 %, so that clients do not retry all at once.
REJECTION_HOLD_SECONDS = 1.0
MAX_BUFFERED_BODIES = 16  # bodies of the maximum size that fit into a worker's memory budget


class AdmissionMiddleware:
    """Limit the in-flight requests of a worker, their time and the memory of their bodies."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[Route],
        settings: ServiceSettings,
        limiter: LoadLimiter,
    ) -> None:
        """Wrap app.

        Args:
            app: the application.
            routes: the routes by which rejected requests are counted.
            settings: how long each request may take with its upload, and how large its body may be.
            limiter: rejects requests if the worker has too many.
        """
        self.app = app
        self.routes = list(routes)
        self.limiter = limiter
        self.exempt = limiter.exempt()
        self.seconds = settings.timeout_seconds
        self.bodies = BodyBudget(MAX_BUFFERED_BODIES * settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it before its body is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] != "POST":
            with self.exempt:
                await self.app(scope, receive, send)
        elif error := self.limiter.rejection():
            await self._reject(error, scope, receive, send)
        else:
            await _Admitted(self, scope, receive, send).answer()

    async def _reject(self, error: Overloaded, scope: Scope, receive: Receive, send: Send) -> None:
        """Send 429 at once, but accept the connection's next request only a second later.

        Clients that ignore Retry-After would otherwise cost more than those that are served.
        """
        with self.exempt:
            store_route(scope, self.routes)
            await _send(error, send, more_body=True)
            if await _hold_connection(scope, receive):
                await send({"type": "http.response.body"})


class _Admitted:
    """An admitted request; it is cancelled if it takes too long or its client disconnects."""

    __slots__ = (
        *("_admission", "_body", "_ended", "_error", "_is_overload", "_left", "_receive"),
        *("_scope", "_send", "_started", "_task", "_whole"),
    )

    def __init__(
        self, admission: AdmissionMiddleware, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._admission = admission
        self._scope, self._receive, self._send = scope, receive, send
        self._task: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]
        self._error: RequestError | None = None
        self._whole = self._started = self._left = self._ended = self._is_overload = False

    async def answer(self) -> None:
        """Run the application; on timeout, cancel it and send an error."""
        # asyncio.timeout does the same, but takes 3 us.
        timer = asyncio.get_running_loop().call_later(self._admission.seconds, self._end)
        self._body = Body(timer.when() - self._admission.seconds, self._cancel_with)
        self._scope[ON_DISCONNECT], self._scope[INFLATED] = self._on_disconnect, self._hold_inflated
        try:
            await self._admission.app(self._scope, self._receive_counted, self._send_tracked)
        except asyncio.CancelledError:
            if not self._ended or self._task.uncancel() > 0:  # not by us alone
                raise
            if not self._left and not self._started:
                error = self._error or timeout_error(self._admission.seconds, self._whole)
                await _send(error, self._send)
        finally:
            timer.cancel()
            del self._scope[ON_DISCONNECT], self._scope[INFLATED]
            self._admission.bodies.release(self._body)
            # It refers to this object: only the garbage collector would free all of the request.
            del self._body
        if self._is_overload:
            with self._admission.exempt:
                if await _hold_connection(self._scope, self._receive, self._whole):
                    await self._send({"type": "http.response.body"})

    def _end(self) -> None:
        """Cancel the task, which also removes its work from the queues."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    def _cancel_with(self, error: RequestError) -> None:
        """Cancel the request with this error, to make room for others."""
        self._error = error
        self._end()

    def _hold_inflated(self, size: int) -> None:
        self._admission.bodies.hold(self._body, size, whole=True)

    def _on_disconnect(self) -> None:
        """Cancel the request after a disconnect; during the upload, receive reports it."""
        if self._whole:
            self._left = True
            self._end()

    async def _receive_counted(self) -> Message:
        """Receive a chunk of the body; waiting for it does not count as load.

        Raises:
            Overloaded: all bodies together exceed the limit.
        """
        if self._whole:
            return await self._receive()
        admission = self._admission
        with admission.exempt:
            message = await self._receive()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            admission.bodies.hold(self._body, len(message.get("body", b"")), self._whole)
        return message

    async def _send_tracked(self, message: Message) -> None:
        """Send a part of the response; that to an overload stays open, as in `_reject`."""
        self._started = True
        if message["type"] == "http.response.start":
            self._is_overload = message["status"] == Overloaded.status
        elif self._is_overload:
            message = {**message, "more_body": True}
        await self._send(message)


def timeout_error(seconds: float, received: bool) -> RequestError:
    """Return the error of a request that took too long, after its body or while receiving it."""
    if received:
        return Timeout(f"there was no answer after {seconds:g} s: send fewer or smaller images")
    return RequestTimeout(f"the body was not complete after {seconds:g} s")


async def _hold_connection(scope: Scope, receive: Receive, is_whole: bool = False) -> bool:
    """Wait and discard the body if it is not read yet; return False if the client disconnects."""
    seconds = REJECTION_HOLD_SECONDS * (1 + random() / 2)  # noqa: S311
    if is_whole:
        return await _wait_for_disconnect(scope, seconds)
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()
    except TimeoutError:
        return True
    return message["type"] == "http.request" and await _wait_for_disconnect(scope, seconds)


async def _wait_for_disconnect(scope: Scope, seconds: float) -> bool:
    """Wait this long; return False if the client disconnects before.

    It does not call receive: cancelling that costs more than the rest of a rejection.
    """
    loop = asyncio.get_running_loop()
    is_connected: asyncio.Future[bool] = loop.create_future()

    def end(answer: bool) -> None:
        if not is_connected.done():
            is_connected.set_result(answer)

    timer = loop.call_later(seconds, end, True)
    scope[ON_DISCONNECT] = partial(end, False)
    try:
        return await is_connected
    finally:
        timer.cancel()
        del scope[ON_DISCONNECT]


async def _send(error: RequestError, send: Send, more_body: bool = False) -> None:
    """Send an error; with more_body the response stays open although its body is complete."""
    response = error_response(error)
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": more_body})
