"""The head of an answer leaves together with its body: one system call, one packet.

uvicorn writes first the one and then the other, and uvloop sends each at once, which costs 15 us
and wakes the client twice.
"""

from asyncio import Transport

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CoalescingTransport:
    """Stands between uvicorn's cycle of one request and the transport, for these writes alone."""

    __slots__ = ("_cycle", "_head", "_joined", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: Transport) -> None:
        """Write to transport what cycle writes."""
        self._cycle, self._transport = cycle, transport
        self._head = b""
        self._joined = False

    def write(self, data: bytes) -> None:
        """Send data, but keep a head until what follows it, which may be empty."""
        if self._joined or not self._cycle.response_started:  # 100 Continue comes before the head
            self._transport.write(data)
        elif not self._head:
            self._head = data
        else:
            self._joined = True
            self._transport.write(self._head + data)

    def close(self) -> None:
        """Close the connection; a head that nothing follows leaves first."""
        if self._head and not self._joined:
            self._joined = True
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed or will be."""
        return self._transport.is_closing()
