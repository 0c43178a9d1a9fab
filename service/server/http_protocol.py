"""Connections of a worker: uvicorn's HTTP/1.1, with limits that hold on the open internet.

uvicorn takes a head of any size, waits for it without end, keeps a client that reads nothing, and
accepts connections until the process has no file descriptor left.

Source of the statuses: RFC 9110, section 15.5, and RFC 6585, section 5.
"""

import asyncio
import sys
from asyncio import TimerHandle
from collections.abc import Iterable
from typing import Any

import orjson
from httptools import HttpParserCallbackError, HttpParserError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.http.headers import ALWAYS, NOTHING
from service.http.scope import CONNECTION, ON_DISCONNECT, TASKS
from service.server.http_parsing import Parsing
from service.server.request_head import HeadRefused
from service.server.write_coalescing import CoalescingTransport
from service.telemetry.access_log import AccessLog
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_id import request_id
from service.telemetry.request_timing import RequestTiming

HEAD_BYTES = 32 * 1024  # request line and headers; trailers too
STALL_TIMEOUT_SECONDS = 10.0  # for a head to be whole, and for a client to take some of its answer
LINGER_SECONDS = 1.0  # what a refused client still sends is taken, lest a reset eat its answer

# Files that a process may have open, connections among them.
if sys.platform == "win32":
    DESCRIPTORS = 8192  # the C library's most
else:
    import resource

    DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

# Half of the descriptors, so that what the service itself opens always finds one.
MAX_CONNECTIONS = min(4096, DESCRIPTORS // 2)
MAX_REJECTED_CONNECTIONS = MAX_CONNECTIONS // 4  # at a time are told why; more are closed at once

Headers = Iterable[tuple[bytes, bytes]]


class LimitedHttpProtocol(Parsing):
    """One connection, from its acceptance to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        log: AccessLog | None = None,
        keep_alive_seconds: float | None = None,
    ) -> None:
        """Take what uvicorn gives each connection, and what we give it.

        The log takes a line for what is refused before it is a request. keep_alive_seconds is how
        long to wait for the next request; None: as long as uvicorn's setting has it.
        """
        super().__init__(config, server_state, app_state, _loop)
        app_state[TASKS] = server_state.tasks
        self.access_log = False  # `service.telemetry.access_log` writes it, and more quickly
        if keep_alive_seconds is not None:
            self.timeout_keep_alive = keep_alive_seconds  # type: ignore[assignment]
        self._log = log
        self._head_bytes = 0  # since anything of a request was complete
        self._refused = False
        self._begun = 0.0  # the time at which the head, or the connection, began
        self._seen: object = None  # where the client stood at the last look
        self._since = 0.0  # the time of the first look that saw it there
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse where there are too many already."""
        super().connection_made(transport)
        excess = len(self.connections) - MAX_CONNECTIONS
        if excess <= 0:
            self._begun = self.loop.time()
            self._look_in(STALL_TIMEOUT_SECONDS)
        elif excess <= MAX_REJECTED_CONNECTIONS:
            self._refused = True
            message = f"this worker has {MAX_CONNECTIONS:,} connections, its most: try again"
            self._answer(503, message, [(b"retry-after", b"1")])
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that runs, if it wants to know."""
        if self._timer is not None:
            self._timer.cancel()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and ON_DISCONNECT in cycle.scope:
            cycle.scope[ON_DISCONNECT]()  # type: ignore[literal-required]
        super().connection_lost(exc)

    def is_gone(self) -> bool:
        """Whether it is closed, so that nobody gets an answer any more."""
        return self.transport.is_closing()

    @property
    def takes_requests(self) -> bool:
        """Whether more of them are answered."""
        return not self._refused

    def data_received(self, data: bytes) -> None:
        """Parse, unless nothing that comes is answered any more."""
        if not self._refused:
            super().data_received(data)

    def _parse(self, data: bytes) -> None:
        """Count what belongs to no body."""
        self._head_bytes += len(data)
        super()._parse(data)
        if self._head_bytes > HEAD_BYTES and not self._refused:
            self._refuse(*self._too_large())

    def on_message_begin(self) -> None:
        """Note the time: a request's first byte is here."""
        self._begun = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin a request whose head is no larger than it may be.

        Raises:
            HeadRefused: it came whole and is larger, or is not as it should be.
        """
        if self._head_bytes > HEAD_BYTES and self._size() > HEAD_BYTES:
            raise HeadRefused(*self._too_large())
        self._head_bytes = 0
        before = self.cycle
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        super().on_headers_complete()
        # An offer has no cycle of its own, and the head of an answer to HEAD no body to join.
        if self.cycle is not before and self.scope["method"] != "HEAD":
            self.cycle.transport = CoalescingTransport(self.cycle, self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which is no head."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Go on reading where the last piece was large: only so is it seen that a client leaves."""
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()

    def refuse(self, error: HttpParserError) -> None:
        """Answer what the parser does not take."""
        cause = error.__context__
        if isinstance(cause, HeadRefused):
            self._refuse(cause.status, str(cause))
        elif isinstance(error, HttpParserCallbackError):
            self._refuse(400, "the request line's target is no path such as /classify")
        else:
            self._refuse(400, f"this is no HTTP/1.1 request: {error}")

    def _too_large(self) -> tuple[int, str]:
        if len(self.url) > HEAD_BYTES // 2:
            return 414, f"the address is too long: {HEAD_BYTES:,} bytes are a head's most"
        return 431, f"the headers are too long: {HEAD_BYTES:,} bytes are a head's most"

    def _size(self) -> int:
        """Bytes of the head that is now complete, without its white space."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _in_head(self) -> bool:
        """Whether a head is not complete, or none has ever come."""
        return self.cycle is None or self.cycle.scope is not self.scope

    def _refuse(self, status: int, error: str) -> None:
        """Take no more requests; answer, unless answers to earlier ones are still to come."""
        self._refused = True
        cycle = self.cycle
        if cycle is None or (self._in_head() and cycle.response_complete):
            self._answer(status, error)
        elif self._in_head():
            cycle.keep_alive = False  # uvicorn closes after it, and it is the last
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:  # within the body of the request that runs
            cycle.disconnected = True
            cycle.message_event.set()
            self._write(status, error)  # and the request itself is counted

    def _answer(self, status: int, error: str, headers: Headers = ()) -> None:
        """Answer what is no request of the application's, which then does not count it."""
        from service.telemetry.metrics import REQUESTS  # only a worker has a folder for metrics

        REQUESTS.labels("other", status).inc()
        if self._log is not None:
            self._log.write(self._partial_scope(), status, RequestTiming(), error)
        self._write(status, error, headers)

    def _partial_scope(self) -> dict[str, Any]:
        """What is known of a request that is none, for the log: no query, where secrets travel."""
        known: dict[str, Any] = dict(self.scope or {"client": self.client, "headers": []})
        url = self.url.partition(b"?")[0] if self.scope else b""
        known = {"method": None, "path": "", "raw_path": url} | known
        return known | {REQUEST_ID: request_id(known)}

    def _write(self, status: int, error: str, headers: Headers = ()) -> None:
        """Write a whole answer, and close when the client has had time to read it."""
        headers = [*self.server_state.default_headers, *headers]
        self.transport.write(raw_answer(status, error, headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _look_in(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End the connection if its client has stalled, else look again later."""
        if self._makes_no_progress():
            self.transport.abort()
            return
        left = STALL_TIMEOUT_SECONDS
        if self.flow.read_paused:
            self._begun = self.loop.time()  # it is not the client who is slow
        elif self._in_head() and not self._refused:
            left = self._begun + STALL_TIMEOUT_SECONDS - self.loop.time()
        self._look_in(left if left > 0 else STALL_TIMEOUT_SECONDS)
        if left <= 0:
            self._refuse_slow_head()

    def _refuse_slow_head(self) -> None:
        if self.scope is None:  # nothing came
            self.transport.close()
        else:
            self._refuse(408, f"the request's head was not whole after {STALL_TIMEOUT_SECONDS:g} s")

    def _makes_no_progress(self) -> bool:
        """Whether the client, whose turn it is, stands where it has stood for long."""
        now, stand = self.loop.time(), self._stand()
        if stand != self._seen:
            self._seen, self._since = stand, now
        return (
            stand is not None and now - self._since > STALL_TIMEOUT_SECONDS / 2
        )  # looks are not exact

    def _stand(self) -> object:
        """What changes when the client takes some of its answer, or the next request begins."""
        cycle, unsent = self.cycle, self.transport.get_write_buffer_size()
        if unsent:
            return unsent, cycle and cycle.expected_content_length
        sends = self.timeout_keep_alive_task is None
        return (
            cycle if cycle and cycle.response_complete and sends and not self._in_head() else None
        )


def raw_answer(status: int, error: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write the whole answer to what is no request, behind which the connection is closed."""
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
