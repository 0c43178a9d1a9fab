"""A connection of a soak's client, and the count of the results."""

import asyncio
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

LONGEST_SECONDS = 60.0  # then there is no answer
RECEIVE_BYTES = 65536  # bytes
SHOWN = 300  # characters of an answer that is told of


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


@dataclass
class Tally:
    """The results of the requests, by kind.

    Attributes:
        statuses: how many answers of each kind had which status.
        faults: what should not be: wrong answers, statuses and broken connections, told in full.
        killed: broken connections of the worker that was killed, which are no fault.
        doomed: that worker's connections when it was killed: the clients' ports, with its own.
        left: how many connections a client ended before the answer.
        begun: the time at which it began, of time.monotonic.
    """

    statuses: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    faults: defaultdict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    killed: Counter[str] = field(default_factory=Counter)
    doomed: dict[int, int] = field(default_factory=dict)
    left: int = 0
    begun: float = field(default_factory=time.monotonic)

    def note(self, kind: str, answer: Answer) -> None:
        """Count an answer."""
        self.statuses[kind][answer.status] += 1
        if answer.status >= 500:
            self.fault("5xx", kind, status=answer.status, body=_shown(answer.body))

    def fault(self, what: str, kind: str, **details: Any) -> None:
        """Record an unexpected result."""
        seconds = round(time.monotonic() - self.begun, 1)
        self.faults[what].append({"kind": kind, "seconds": seconds, **details})

    @contextmanager
    def unbroken(self, kind: str, connection: "Connection", **details: Any) -> Iterator[None]:
        """Note it if the connection breaks within the block."""
        try:
            yield
        except (OSError, EOFError) as error:
            if connection.local_port in self.doomed:
                self.killed[kind] += 1
            else:
                self.fault("broken", kind, error=repr(error), **details)

    def total(self) -> int:
        """Count all answers."""
        return sum(sum(statuses.values()) for statuses in self.statuses.values())


class Connection:
    """A connection that sends any bytes at any pace, and reads what arrived before it broke.

    asyncio's streams forget what was received when sending fails.
    """

    def __init__(self, port: int) -> None:
        """Be ready to connect to a port of this machine."""
        self._port = port
        self._received = b""
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self.local_port = 0

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local_port = self._socket.getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self._socket.close()

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Send for as long as it is taken."""
        with suppress(BrokenPipeError, ConnectionResetError):  # answered, and then closed
            for piece in pieces:
                await self._loop.sock_sendall(self._socket, piece)

    async def drip(self, content: bytes, seconds: float) -> None:
        """Send a byte each so many seconds, until all is sent or the other side says something."""
        with suppress(BrokenPipeError, ConnectionResetError):
            for position in range(len(content)):
                await self._loop.sock_sendall(self._socket, content[position : position + 1])
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._receive(), seconds)
                    return

    def reset(self) -> None:
        """Have the connection end without a goodbye when it is closed."""
        linger = b"\1\0\0\0" + bytes(4)  # on, for no time
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def exchange(self, pieces: Iterable[bytes], method: str = "POST") -> Answer:
        """Send a request and read the answer.

        Raises:
            OSError, EOFError: the connection broke, or LONGEST_SECONDS went, before it was whole.
        """
        async with asyncio.timeout(LONGEST_SECONDS):
            await self.send(pieces)
        return await self.answer(method)

    async def answer(self, method: str = "POST") -> Answer:
        """Read the next answer.

        Raises:
            OSError, EOFError: the connection broke, or LONGEST_SECONDS went, before it was whole.
        """
        async with asyncio.timeout(LONGEST_SECONDS):
            head = await self._take(lambda content: content.find(b"\r\n\r\n") + 4, least=4)
            line, *fields = head.lower().split(b"\r\n")
            values = dict(field.split(b":", 1) for field in fields if field)
            length = 0 if method == "HEAD" else int(values[b"content-length"])
            return Answer(int(line.split()[1]), await self._take(lambda _: length))

    async def _take(self, length: Callable[[bytes], int], least: int = 0) -> bytes:
        """Return the first `length` bytes that arrive, once they are there."""
        while (end := length(self._received)) < least or len(self._received) < end:
            await self._receive()
        taken, self._received = self._received[:end], self._received[end:]
        return taken

    async def _receive(self) -> None:
        piece = await self._loop.sock_recv(self._socket, RECEIVE_BYTES)
        if not piece:
            raise EOFError(f"closed after {self._received[:SHOWN]!r}")
        self._received += piece


def _shown(body: bytes) -> str:
    return body[:SHOWN].decode(errors="replace")
