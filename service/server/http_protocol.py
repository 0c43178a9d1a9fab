"""uvicorn's HTTP/1.1 connections, with limits for use on the open internet.

uvicorn accepts a head of any size, waits for it without a limit, keeps clients that read nothing,
and accepts connections until the process has no file descriptor left.

Sources of the statuses: RFC 9110, section 15.5, and RFC 6585, section 5.
"""

import asyncio
import sys
from asyncio import TimerHandle
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

import orjson
from httptools import HttpParserCallbackError, HttpParserError
from uvicorn.config import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.http.headers import ALWAYS, NOTHING
from service.http.scope import CONNECTION, ON_DISCONNECT
from service.inference.load_limiter import LoadLimiter
from service.server.http_parsing import Parsing
from service.server.request_head import HeadRejected
from service.server.response_cycle import OneWriteCycle
from service.telemetry.access_log import AccessLog
from service.telemetry.metrics import REQUESTS
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_id import request_id
from service.telemetry.request_timing import RequestTiming

HEAD_BYTES = 32 * 1024  # request line and headers; trailers too
STALL_TIMEOUT_SECONDS = 10.0  # to complete a head, and to read some of the response
LINGER_SECONDS = 1.0  # keep reading after a rejection: a reset could discard the response

# Limit of open files of a process, connections included.
if sys.platform == "win32":
    DESCRIPTORS = 8192  # the C library's maximum
else:
    import resource

    DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

# Half of the descriptors: the other half is for what the service itself opens.
MAX_CONNECTIONS = min(4096, DESCRIPTORS // 2)
MAX_REJECTED_CONNECTIONS = MAX_CONNECTIONS // 4  # open at a time, with a 503; more close at once

Headers = Iterable[tuple[bytes, bytes]]

# uvicorn creates a request's cycle from the class with this name. To replace a cycle's class, or a
# method of it, afterwards takes 10 us.
httptools_impl.RequestResponseCycle = OneWriteCycle  # type: ignore[misc]


class Phase(Enum):
    """What arrives on a connection, and whether another response comes before the next one."""

    HEAD = auto()  # no response is due
    HEAD_BEHIND_RESPONSE = auto()  # the response to an earlier request is due
    BODY = auto()  # its response has not started and is the next
    BODY_BEHIND_RESPONSE = auto()  # its response has started, or earlier ones are due


class LimitedHttpProtocol(Parsing):
    """One connection, with limits on its head, its idle time and the number of connections."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        log: AccessLog | None = None,
        keep_alive_seconds: float | None = None,
        limiter: LoadLimiter | None = None,
    ) -> None:
        """Take uvicorn's arguments, and three more.

        The log takes a line for data that is rejected before it becomes a request.
        keep_alive_seconds is how long to wait for the next request; None: uvicorn's setting.
        The limiter counts the requests.
        """
        super().__init__(config, server_state, app_state, _loop)
        if limiter is not None:
            limiter.track(server_state.tasks)  # uvicorn creates a request's task when it arrives
        self.access_log = False  # `service.telemetry.access_log` writes it, and faster
        if keep_alive_seconds is not None:
            self.timeout_keep_alive = keep_alive_seconds  # type: ignore[assignment]
        self._log = log
        self._last_marker: object = None  # of the client's progress, at the last check
        self._unchanged_since = 0.0  # the time of the first check with that marker
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or reject it if there are too many."""
        super().connection_made(transport)
        excess = len(self.connections) - MAX_CONNECTIONS
        if excess <= 0:
            self.head_started_at = self.loop.time()
            self._schedule_check(STALL_TIMEOUT_SECONDS)
        elif excess <= MAX_REJECTED_CONNECTIONS:
            self.takes_requests = False
            message = f"this worker has {MAX_CONNECTIONS:,} connections, the maximum: try again"
            self._answer(503, message, [(b"retry-after", b"1")])
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the running request, if it has set a callback."""
        if self._timer is not None:
            self._timer.cancel()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and ON_DISCONNECT in cycle.scope:
            cycle.scope[ON_DISCONNECT]()  # type: ignore[literal-required]
        super().connection_lost(exc)

    def is_closing(self) -> bool:
        """Whether the connection is closed, so that no response can be sent."""
        return self.transport.is_closing()

    def _parse(self, data: bytes) -> None:
        """Parse data, and limit the bytes of a head."""
        super()._parse(data)
        if self.head_bytes > HEAD_BYTES and self.takes_requests:
            self._reject(*self._too_large())

    def on_headers_complete(self) -> None:
        """Start the request if its head is within the limit.

        Raises:
            HeadRejected: the head is complete but too large, or it is invalid.
        """
        if self.head_bytes > HEAD_BYTES and self._size() > HEAD_BYTES:
            raise HeadRejected(*self._too_large())
        self.head_bytes = 0
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Resume reading after a large last chunk; without it a disconnect is not noticed."""
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()

    def on_parser_error(self, error: HttpParserError) -> None:
        """Respond to data that the parser rejects."""
        cause = error.__context__
        if isinstance(cause, HeadRejected):
            self._reject(cause.status, str(cause))
        elif isinstance(error, HttpParserCallbackError):
            self._reject(400, "the request line's target is not a path such as /classify")
        else:
            self._reject(400, f"this is not an HTTP/1.1 request: {error}")

    def _too_large(self) -> tuple[int, str]:
        if len(self.url) > HEAD_BYTES // 2:
            return 414, f"the URL is too long: a head has at most {HEAD_BYTES:,} bytes"
        return 431, f"the headers are too long: a head has at most {HEAD_BYTES:,} bytes"

    def _size(self) -> int:
        """Bytes of the complete head, without its white space."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _in_head(self) -> bool:
        """Whether a head is incomplete, or none has arrived yet."""
        return self.cycle is None or self.cycle.scope is not self.scope

    def _phase(self) -> Phase:
        cycle, is_in_head = self.cycle, self._in_head()
        if cycle is None or (is_in_head and cycle.response_complete):
            return Phase.HEAD
        if is_in_head:
            return Phase.HEAD_BEHIND_RESPONSE
        if cycle.response_started or self.pipeline:
            return Phase.BODY_BEHIND_RESPONSE
        return Phase.BODY

    def _reject(self, status: int, error: str) -> None:
        """Accept no more requests; send the error if it can be the next response."""
        self.takes_requests = False
        match self._phase():
            case Phase.HEAD:
                self._answer(status, error)
            case Phase.HEAD_BEHIND_RESPONSE:
                self.cycle.keep_alive = False  # uvicorn closes the connection after this response
            case Phase.BODY:
                self.cycle.disconnected = True  # the application counts and logs the request
                self.cycle.message_event.set()
                self._write(status, error)
            case Phase.BODY_BEHIND_RESPONSE:
                self.transport.close()

    def _answer(self, status: int, error: str, headers: Headers = ()) -> None:
        """Send an error that the application does not see; count and log it here."""
        REQUESTS.labels("other", status).inc()
        if self._log is not None:
            self._log.write(self._partial_scope(), status, RequestTiming(), error)
        self._write(status, error, headers)

    def _partial_scope(self) -> dict[str, Any]:
        """Return what is known of a rejected request, for the log; no query: it may hold keys."""
        known: dict[str, Any] = dict(self.scope or {"client": self.client, "headers": []})
        url = self.url.partition(b"?")[0] if self.scope else b""
        known = {"method": None, "path": "", "raw_path": url} | known
        return known | {REQUEST_ID: request_id(known)}

    def _write(self, status: int, error: str, headers: Headers = ()) -> None:
        """Write a complete response; close after the client has had time to read it."""
        headers = [*self.server_state.default_headers, *headers]
        self.transport.write(raw_answer(status, error, headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _schedule_check(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._check_progress)

    def _check_progress(self) -> None:
        """Close the connection if its client has stalled, else check again later."""
        if self._is_stalled():
            self.transport.abort()
            return
        left = STALL_TIMEOUT_SECONDS
        if self.flow.read_paused:
            self.head_started_at = self.loop.time()  # the server is slow, not the client
        elif self._in_head() and self.takes_requests:
            left = self.head_started_at + STALL_TIMEOUT_SECONDS - self.loop.time()
        self._schedule_check(left if left > 0 else STALL_TIMEOUT_SECONDS)
        if left <= 0:
            self._reject_slow_head()

    def _reject_slow_head(self) -> None:
        if self.scope is None:  # nothing was received
            self.transport.close()
        else:
            seconds = f"{STALL_TIMEOUT_SECONDS:g}"
            self._reject(408, f"the request head was not complete after {seconds} s")

    def _is_stalled(self) -> bool:
        """Whether the client should read or send, and has not done so for too long."""
        now, marker = self.loop.time(), self._progress_marker()
        if marker != self._last_marker:
            self._last_marker, self._unchanged_since = marker, now
        # Half of the time, because checks are not exact.
        return marker is not None and now - self._unchanged_since > STALL_TIMEOUT_SECONDS / 2

    def _progress_marker(self) -> object:
        """Return a value that changes with the client's progress.

        Returns:
            While the client should read a response: the bytes that wait in this process, and the
            bytes that the application has not written yet.
            While it should send the rest of a body whose response is complete: the request.
            None if the client owes nothing, or `_check_progress` limits its head.
        """
        cycle, unsent = self.cycle, self.transport.get_write_buffer_size()
        if unsent:
            return unsent, cycle and cycle.expected_content_length
        if cycle is None or not cycle.response_complete or self._in_head():
            return None
        is_body_complete = self.timeout_keep_alive_task is not None  # uvicorn's wait for a request
        return None if is_body_complete else cycle


def raw_answer(status: int, error: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a complete error response with `Connection: close`, as bytes."""
    body = orjson.dumps({"error": error})
    every = [
        *headers,
        *ALWAYS,
        NOTHING,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in every)
    return b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body)
