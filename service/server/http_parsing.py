"""HTTP/1.1 parsing with support for upgrade offers, pipelining and half-closed connections.

uvicorn loses the body of a request that offers another protocol, creates all pipelined requests
of one read at once, and closes the connection of a client that has finished sending.

Sources: RFC 9110, section 7.8 (Upgrade); RFC 9112, sections 9.3.2 (pipelining) and 9.6 (tear-down).
"""

import asyncio
from asyncio import TimerHandle
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.server.request_head import FRAMING, check_head

HEAD_END = b"\r\n\r\n"
FEW = 8  # heads that are parsed at once, and requests that may wait before parsing pauses
SMALL_BYTES = 4096  # in which heads are counted; longer, the search would take too long in a body
HELD_BYTES = 512 * 1024  # limit of one connection's unparsed bytes
ALL_HELD_BYTES = 64 * 2**20  # limit of the unparsed bytes of a worker's connections

# Sent to a waiting client that may have disconnected: if it has, its machine replies with a reset.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROBE_SECONDS = 0.05  # without a response before the first probe; doubled for each further probe


class Parsing(HttpToolsProtocol):
    """Turn the bytes of a connection into requests."""

    held_bytes: ClassVar[int] = 0  # unparsed bytes of all connections

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take uvicorn's arguments; all connections share server_state and app_state."""
        super().__init__(config, server_state, app_state, _loop)
        self.takes_requests = True  # whether this connection still accepts requests
        self.head_started_at = 0.0  # the loop's time at the first byte of the latest request
        self._running: RequestResponseCycle | None = None  # the request that the application runs
        self.head_bytes = 0  # since the last complete head or chunk of a body
        self._body_left = 0  # bytes, by the Content-Length; 0 or less without one
        self._framing: list[tuple[bytes, bytes]] = []  # headers that `check_head` checks
        self._is_head_whole = False  # headers that follow are trailers
        self._held = b""  # unparsed bytes, received when enough requests were waiting
        self._is_at_end = False  # the client has finished sending
        self._probe_timer: TimerHandle | None = None

    def on_parser_error(self, error: HttpParserError) -> None:
        """Respond to data that the parser rejects."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Parse data, but only a few requests ahead of the running one."""
        if not self.takes_requests:
            return
        self._unset_keepalive_if_required()
        if self._held:
            self._hold(data)
        elif len(data) <= self._body_left or (
            len(data) <= SMALL_BYTES and not self.pipeline and data.count(HEAD_END) <= FEW
        ):
            self._parse(data)
        else:
            self._parse_some(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection while a response is due; TLS cannot half-close (Python, asyncio)."""
        self._is_at_end = True
        if self.scheme == "https" or not self._is_waited_for():
            return False  # the transport closes
        if self._probe_timer is None:
            self._probe_later(PROBE_SECONDS)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the unparsed bytes."""
        self._take_held()
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start a new request head."""
        self.head_started_at = self.loop.time()
        self._framing, self._is_head_whole = [], False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; trailers are ignored (RFC 9110, section 6.5.1)."""
        if self._is_head_whole:
            return
        name = name.lower()
        if name in FRAMING:
            self._framing.append((name, value))
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length":
            self._body_left = int(value)  # the parser takes digits only
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request; if it offers another protocol, it is first parsed again without.

        Raises:
            HeadRejected: the head is invalid.
        """
        check_head(self.parser.get_http_version(), self.parser.get_method(), self._framing)
        if not self.parser.should_upgrade():
            self._is_head_whole = True
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a chunk of a body, which does not count as head."""
        self.head_bytes = 0
        self._body_left -= len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Start the next request, parse held bytes, or close after the last response."""
        super().on_response_complete()
        if self._held and len(self.pipeline) < FEW and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._parse_some(self._take_held())
        if self._is_at_end and not self._is_waited_for():
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _parse_some(self, data: bytes) -> None:
        """Parse a head or a body at a time, until enough requests wait."""
        start = 0
        while start < len(data) and self.takes_requests:
            if len(self.pipeline) >= FEW:
                self._hold(data[start:])
                return
            if self._body_left > 0:
                end = start + self._body_left
            else:
                found = data.find(HEAD_END, start)
                end = len(data) if found < 0 else found + len(HEAD_END)
            self._parse(data[start:end])
            start = end

    def _hold(self, data: bytes) -> None:
        """Keep data for later and pause reading; close the connection if more still arrives."""
        self._held += data
        Parsing.held_bytes += len(data)
        self.flow.pause_reading()
        if len(self._held) > HELD_BYTES or self.held_bytes > ALL_HELD_BYTES:
            self.transport.abort()

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        Parsing.held_bytes -= len(held)
        return held

    def _parse(self, data: bytes) -> None:
        self.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._pass_over_offer(data[offer.args[0] :])
        except HttpParserError as error:
            self.on_parser_error(error)

    def _pass_over_offer(self, rest: bytes) -> None:
        """Parse a head again without its upgrade offer, and then the data after it.

        The parser would not parse the body of a request that offers another protocol.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"\r\n".join(lines) + HEAD_END)
        if rest and self.takes_requests:
            self._parse(rest)

    def _should_upgrade(self) -> bool:
        """Return True, so that uvicorn skips a request with an offer: it is parsed again."""
        return True

    def _is_waited_for(self) -> bool:
        """Whether the client, which has finished sending, still waits for a response."""
        cycle = self.cycle
        if cycle is None or self.transport.is_closing():
            return False
        if self._held or self.pipeline:
            return True
        if cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False  # uvicorn then sends `Connection: close`, and closes
        return True

    def _probe_later(self, seconds: float) -> None:
        self._probe_timer = self.loop.call_later(seconds, self._probe, self._running, seconds)

    def _probe(self, cycle: RequestResponseCycle | None, seconds: float) -> None:
        """Write, to detect a disconnected client: TCP does not distinguish it from a half-close."""
        if self.transport.is_closing():
            return
        if cycle is None or cycle is not self._running or cycle.response_started:
            self._probe_later(PROBE_SECONDS)  # responses make progress
            return
        if cycle.scope["http_version"] == "1.1":  # other versions have no 100 Continue
            self.transport.write(CONTINUE)
        self._probe_later(2 * seconds)
