"""A call: its key, its limits, its time, its metadata, its metrics and its line of the log.

What the middleware in `service.middleware` does for HTTP, here in one place: each layer would be
one more await in every call.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import grpc
from grpc.aio import EOF, AbortError, InternalError, ServicerContext

from service.errors import (
    Failed,
    InvalidInput,
    NotReady,
    Overloaded,
    RequestError,
    Unimplemented,
)
from service.grpc.methods import Method, Stream
from service.grpc.status import CODES, retry_hint
from service.inference.load_limiter import LoadLimiter
from service.middleware.admission import MAX_BUFFERED_BODIES, timeout_error
from service.middleware.authentication import APIKeys
from service.middleware.body_budget import SMALL_BODY_BYTES, Body, BodyBudget
from service.middleware.instrumentation import CLIENT_WENT_AWAY
from service.settings import ServiceSettings
from service.telemetry.access_log import TRACE_ID, AccessLog
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_id import request_id
from service.telemetry.request_metrics import RequestMetrics
from service.telemetry.request_timing import RequestTiming

logger = logging.getLogger("bentoml.fashion_lenet")

# The name, attributes, headers, timing and error of a call; returns its trace's id.
Record = Callable[[str, Mapping[str, Any], Any, RequestTiming, Exception | str | None], str | None]

LOG_SECONDS = 0.01
CACHED_PEERS = 128
NO_MESSAGE = "the call has no message, or one larger than FASHION_MAX_BODY_BYTES allows"
MAX_SHOWN_METHOD = 200  # characters of an unknown method in an error

OTHER = "other"  # the route of calls of methods that there are not


def _no_method(path: str) -> Unimplemented:
    shown = path if len(path) <= MAX_SHOWN_METHOD else f"{path[:MAX_SHOWN_METHOD]}..."
    return Unimplemented(f"there is no method {shown}: server reflection lists the methods")


async def _refuse(content: bytes, timing: RequestTiming) -> bytes:
    raise AssertionError("a call of an unknown method has an error from the start")


UNKNOWN = Method(_refuse)


class Calls(grpc.GenericRpcHandler):
    """Finds the method of each call, and what all calls of a worker share."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        streams: Mapping[str, Stream],
        settings: ServiceSettings,
        limiter: LoadLimiter,
        log: AccessLog,
        record: Record | None,
    ) -> None:
        """Serve methods.

        Args:
            methods: by their paths.
            streams: methods with several messages or answers, by their paths.
            settings: the keys, how long a call may take, and how large its message may be.
            limiter: rejects calls if the worker has too many requests.
            log: takes a line for each call.
            record: traces each call; None: none.
        """
        self.limiter = limiter
        self._log = log
        self._lines: list[tuple[Any, ...]] = []  # arguments of `AccessLog.write`
        self.record = record
        self.seconds = settings.timeout_seconds
        self.most_uploads = settings.max_concurrency
        self.uploads: dict[_Call, None] = {}  # whose message is being received, the oldest first
        self.bodies = BodyBudget(MAX_BUFFERED_BODIES * settings.max_body_bytes)
        self.metrics = RequestMetrics()
        self._methods = methods
        self._streams = streams
        self._open: set[ServicerContext] = set()  # of streams
        self._keys = APIKeys(settings.api_key) if settings.api_key else None
        self.in_flight: set[_Call] = set()  # that are load: their messages have been received
        limiter.track(self.in_flight)
        self.is_stopping = False  # if so, calls are refused

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of a call, which has arrived without its message yet."""
        path = details.method
        headers = [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in details.invocation_metadata
        ]
        method = self._methods.get(path)
        found = method or self._streams.get(path)
        error: RequestError | None = None
        if self._keys is not None and (found is None or found.needs_key):
            error = self._keys.refusal(headers)
        if isinstance(found, Stream) and error is None:
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, found))
        if error is None and self.is_stopping:
            error = NotReady("the server is stopping, send requests to another one")
        if error is None and method is None:
            error = _no_method(path)
        return _Call(self, path if found else OTHER, path, headers, method or UNKNOWN, error)

    def begin_upload(self, call: "_Call") -> None:
        """Note that a call waits for its message; if too many do, end the one that waits longest.

        Otherwise clients that open calls and send nothing would keep out all others.
        """
        if len(self.uploads) >= self.most_uploads:
            oldest = next(iter(self.uploads))
            del self.uploads[oldest]
            oldest.give_up(
                Overloaded(
                    f"this worker receives {self.most_uploads:,} messages, the maximum: try again"
                )
            )
        self.uploads[call] = None

    def write_line(self, *line: Any) -> None:
        """Write the log's line of a call, with those of the next few milliseconds at once.

        Calls end one by one, and each write takes as long as an inference.
        """
        if not self._lines:
            asyncio.get_running_loop().call_later(LOG_SECONDS, self._write_lines)
        self._lines.append(line)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            self._log.write(*line)

    async def end_streams(self) -> None:
        """End all streams, whose clients would otherwise keep the server from stopping."""
        for context in list(self._open):
            with suppress(AbortError):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async def _stream(self, stream: Stream, messages: Any, context: ServicerContext) -> None:
        self._open.add(context)
        error: RequestError | None = None
        try:
            async for answer in stream.answers(messages):
                await context.write(answer)
        except RequestError as refusal:
            error = refusal
        finally:
            self._open.discard(context)
        if error is not None:
            await context.abort(CODES[error.status], str(error))


class _Call(grpc.RpcMethodHandler):
    """One call with one message, and grpcio's handler of it.

    As a stream of messages, so that the call itself reads the one that there is, once it may be
    sent. A handler of its own for each call saves a function's.
    """

    request_streaming, response_streaming = True, False
    request_deserializer = response_serializer = None  # bytes

    def __init__(
        self,
        calls: Calls,
        route: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        method: Method,
        error: RequestError | None,
    ) -> None:
        self._calls, self._method, self._error, self._route = calls, method, error, route
        self._timing = RequestTiming()
        self._scope: dict[str, Any] = {"method": "POST", "path": path, "headers": headers}
        self._scope[REQUEST_ID] = request_id(self._scope)
        self._ended = False

    async def stream_unary(self, messages: object, context: ServicerContext) -> bytes:
        """Answer the call, and record it.

        Raises:
            grpc.aio.AbortError: the call is answered with an error.
        """
        error, answer = self._error, b""
        try:
            if error is None:
                answer = await self._answer(context)
        except RequestError as refusal:
            error = refusal.with_traceback(None)  # or it would keep the message, until a collection
        except asyncio.CancelledError:
            reason = "the client cancelled the call, or its deadline passed"
            self._finish(context, CLIENT_WENT_AWAY, reason)
            raise
        except Exception:
            identity = self._scope[REQUEST_ID]
            logger.exception("Request %s failed:", identity)
            error = Failed(f"the service failed; its log says why, under {identity}")
        metadata = (("x-request-id", self._scope[REQUEST_ID]),)
        if error is not None:
            self._finish(context, error.status, str(error))
            try:
                await context.abort(CODES[error.status], str(error), metadata + retry_hint(error))
            except InternalError:
                # gRPC's core has ended the call, for example because its message inflates to more
                # than the limit. grpcio would log the error with its traceback.
                raise asyncio.CancelledError from None
        context.set_trailing_metadata(metadata)
        self._finish(context, HTTPStatus.OK, "")
        return answer

    async def _answer(self, context: ServicerContext) -> bytes:
        """Receive the message, which is no load meanwhile, and return the answer.

        Raises:
            Overloaded: there is too much load, or too many messages are being received.
            InvalidInput: there is no message.
            RequestTimeout, Timeout: the call takes too long.
        """
        calls, method = self._calls, self._method
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        timer = self._task.get_loop().call_later(calls.seconds, self.give_up)
        calls.begin_upload(self)
        received = False
        body = None
        try:
            content = await context.read()
            received = True
            calls.uploads.pop(self, None)
            if content is EOF:
                raise InvalidInput(NO_MESSAGE)
            if method.limited:
                calls.in_flight.add(self)
                if error := calls.limiter.rejection():
                    raise error
            if len(content) > SMALL_BODY_BYTES:
                body = Body(timer.when() - calls.seconds, self.give_up)
                calls.bodies.hold(body, len(content), whole=True)
            return await method.answer(content, self._timing)
        except asyncio.CancelledError:
            if not self._ended or self._task.uncancel() > 0:  # not by the timer alone
                raise
            raise (self._error or timeout_error(calls.seconds, received)) from None
        finally:
            timer.cancel()
            calls.uploads.pop(self, None)
            calls.in_flight.discard(self)
            if body is not None:
                calls.bodies.release(body)

    def give_up(self, error: RequestError | None = None) -> None:
        """End the call with this error, or because its time is over."""
        if not self._ended:
            self._ended, self._error = True, error
            self._task.cancel()

    def _finish(self, context: ServicerContext, status: int, error: str) -> None:
        """Count, trace and log the call, with the HTTP status of the same meaning."""
        calls, timing = self._calls, self._timing
        timing.stop()
        self._scope["client"] = _client(context.peer())
        calls.metrics.add(self._route, status, timing)
        if calls.record is not None:
            self._trace(calls.record, status)
        if error or not self._method.is_probe:
            calls.write_line(self._scope, status, timing, error)

    def _trace(self, record: Record, status: int) -> None:
        service, _, method = self._scope["path"].lstrip("/").rpartition("/")
        known = self._route == self._scope["path"]
        client = self._scope["client"]
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": service if known else None,
            "rpc.method": method if known else None,
            "rpc.grpc.status_code": _code(status).value[0],
            "client.address": client[0] if client else None,
            "request_id": self._scope[REQUEST_ID],
        }
        name = f"{service}/{method}" if known else "gRPC"
        error = _code(status).name if status >= 500 else None
        trace_id = record(name, attributes, self._scope["headers"], self._timing, error)
        if trace_id is not None:
            self._scope[TRACE_ID] = trace_id


def _code(status: int) -> grpc.StatusCode:
    if status == HTTPStatus.OK:
        return grpc.StatusCode.OK
    return grpc.StatusCode.CANCELLED if status == CLIENT_WENT_AWAY else CODES[HTTPStatus(status)]


@lru_cache(CACHED_PEERS)
def _client(peer: str) -> tuple[str] | None:
    """Return the address in gRPC's name of a peer, such as `ipv4:127.0.0.1:50000`, if it has one.

    It has none once the client has left.
    """
    address = unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")
    return (address,) if address else None
