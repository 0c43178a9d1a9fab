"""A complete response in a single write: one system call, one packet.

uvicorn writes head and body one after the other, and uvloop sends each at once, which costs 15 us
and wakes the client twice. uvicorn also searches each header for control characters, which takes
longer than one search of all.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

# Headers that decide how a response ends. uvicorn writes responses that have one.
FRAMING = frozenset((b"connection", b"transfer-encoding"))


class OneWriteCycle(RequestResponseCycle):
    """One request and its response, as uvicorn keeps them."""

    _start: Any = None  # the message that starts the response, until the next message

    async def send(self, message: Any) -> None:
        """Write a complete response at once; leave any other to uvicorn, message by message."""
        if message["type"] == "http.response.start" and not self.response_started:
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if not message.get("more_body", False) and self._write(start, message.get("body", b"")):
                return
            await super().send(start)
        await super().send(message)

    def _write(self, start: Any, body: bytes) -> bool:
        """Write a response with a Content-Length; return False if uvicorn has to write it."""
        headers = [*self.default_headers, *start.get("headers", ())]
        if (
            self.response_started
            or self.disconnected
            or self.flow.write_paused
            or self.scope["method"] == "HEAD"
            or (b"content-length", b"%d" % len(body)) not in headers
            or not FRAMING.isdisjoint([name for name, _ in headers])
            or HEADER_VALUE_RE.search(b"".join([value for _, value in headers]))
        ):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        content = [STATUS_LINE[start["status"]]]
        for name, value in headers:
            content += (name, b": ", value, b"\r\n")
        content.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        content.append(body)
        self.transport.write(b"".join(content))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
