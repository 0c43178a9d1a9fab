"""The clients of a soak: good, bad, slow, and gone before the answer."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import count, repeat
from typing import Any

from benchmarks.http.load import INFER
from benchmarks.soak.connection import Answer, Connection, Tally
from benchmarks.soak.requests import Good
from benchmarks.soak.soak import Loop
from tests.hostile import png
from tests.hostile.cases import Case
from tests.hostile.kinds import KINDS
from tests.hostile.test_growth import bad_body, random_path

OVERLOADED = 429  # may come to anyone who asks during a burst
LARGE_PICTURE = "PNG of 32 million pixels in 30 kB"
OVERSIZED = 30 * 2**20  # bytes
MIB = 2**20
CROWD = 1200  # requests at once: more than two workers admit

GOOD_PAUSE, BAD_PAUSE, LEAVE_PAUSE = 0.05, 0.1, 0.2  # seconds of one client
LARGE_PAUSE, OVERSIZED_PAUSE = 5.0, 15.0
BYTE_SECONDS = 1.0  # of a slow client, between two bytes


class Clients:
    """All of them, against one port."""

    def __init__(self, port: int, tally: Tally, good: Sequence[Good], burst_seconds: float) -> None:
        """Count in a tally; have a burst each so many seconds."""
        self._port, self._tally, self._good = port, tally, good
        self._burst_seconds = burst_seconds
        self._random = random.Random(0)  # noqa: S311
        self._cases = [case for kind in KINDS for case in kind.CASES]

    async def fill_threads(self) -> None:
        """Have each worker start all threads that decode large pictures, as it does when needed."""
        (case,) = [case for case in png.CASES if case.name == LARGE_PICTURE]

        async def ask() -> None:
            async with Connection(self._port) as connection:
                with self._tally.unbroken("large pictures at once", connection):
                    answer = await connection.exchange([case.request()])
                    self._expect("large pictures at once", answer, (200,))

        await asyncio.gather(*(ask() for _ in range(8)))

    def loops(self) -> Iterator[Loop]:
        """Return all clients, which never end."""
        small = [case for case in self._cases if isinstance(case.body, bytes)]
        large = [case for case in self._cases if not isinstance(case.body, bytes)]
        yield from (self._ask_well() for _ in range(4))
        yield from (self._ask_badly("hostile case", small, BAD_PAUSE) for _ in range(2))
        yield self._ask_badly("large hostile case", large, LARGE_PAUSE)
        yield self._make_up("random path", random_path, (404, 405))
        yield self._make_up("bad body", bad_body, (400, 413))
        yield self._send_too_much()
        yield from (self._dawdle("slow head", b"X: x\r\n" * 99, b"") for _ in range(3))
        yield from (
            self._dawdle("slow body", b"x" * 999, b"Content-Length: 999\r\n\r\n") for _ in range(3)
        )
        yield from (self._hesitate() for _ in range(2))
        yield self._leave()
        yield self._come_in_a_crowd()

    async def _ask_well(self) -> None:
        while True:
            async with Connection(self._port) as connection:
                with self._tally.unbroken("good", connection):
                    while True:
                        good = self._random.choice(self._good)
                        self._check(good, good.kind, await connection.exchange([good.request]))
                        await asyncio.sleep(GOOD_PAUSE)

    async def _ask_badly(self, kind: str, cases: Sequence[Case], pause: float) -> None:
        while True:
            for case in self._random.sample(cases, len(cases)):
                request = await asyncio.to_thread(case.request)
                async with Connection(self._port) as connection:
                    with self._tally.unbroken(kind, connection, case=case.name):
                        answer = await connection.exchange([request], case.method)
                        self._expect(kind, answer, (case.status,), case=case.name)
                await asyncio.sleep(pause)

    async def _make_up(
        self, kind: str, make: Callable[[int], bytes], right: Collection[int]
    ) -> None:
        numbers = count(self._random.randrange(10**9))
        while True:
            async with Connection(self._port) as connection:
                with self._tally.unbroken(kind, connection):
                    for number in numbers:
                        answer = await connection.exchange([make(number)])
                        self._expect(kind, answer, right, number=number)
                        await asyncio.sleep(BAD_PAUSE)

    async def _send_too_much(self) -> None:
        head = (
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
        while True:
            where = self._random.choice([("/classify", "image/png"), (INFER, "application/json")])
            first = head % tuple(text.encode() for text in where)
            async with Connection(self._port) as connection:
                with self._tally.unbroken("oversized body", connection):
                    await connection.send([first])
                    answer = await connection.exchange(repeat(chunk, OVERSIZED // MIB))
                    self._expect("oversized body", answer, (413,))
            await asyncio.sleep(OVERSIZED_PAUSE)

    async def _dawdle(self, kind: str, content: bytes, before: bytes) -> None:
        """Send a byte a second, until the server ends the connection."""
        head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        while True:
            async with Connection(self._port) as connection:
                with self._tally.unbroken(kind, connection):
                    await connection.send([head + before])
                    await connection.drip(content, BYTE_SECONDS)
                    self._expect(kind, await connection.answer(), (408,))

    async def _hesitate(self) -> None:
        """Send the last bytes of a good request slowly, but in time."""
        while True:
            good = self._random.choice(self._good)
            async with Connection(self._port) as connection:
                with self._tally.unbroken("slow but whole", connection):
                    await connection.send([good.request[:-5]])
                    await connection.drip(good.request[-5:], BYTE_SECONDS)
                    self._check(good, "slow but whole", await connection.answer())

    async def _leave(self) -> None:
        """Hang up within a request, or before its answer, with or without a goodbye."""
        while True:
            request = self._random.choice(self._good).request
            async with Connection(self._port) as connection:
                await connection.send([request[: self._random.randrange(1, len(request) + 1)]])
                if self._random.random() < 0.5:
                    connection.reset()
            self._tally.left += 1
            await asyncio.sleep(LEAVE_PAUSE)

    async def _come_in_a_crowd(self) -> None:
        """Have many connections first, and then a request on each of them at once."""
        while True:
            async with AsyncExitStack() as stack:
                crowd = [
                    await stack.enter_async_context(Connection(self._port)) for _ in range(CROWD)
                ]
                await asyncio.gather(
                    *map(self._ask_once, self._random.choices(self._good, k=CROWD), crowd)
                )
            await asyncio.sleep(self._burst_seconds)

    async def _ask_once(self, good: Good, connection: Connection) -> None:
        with self._tally.unbroken("burst", connection):
            self._check(good, "burst", await connection.exchange([good.request]))

    def _check(self, good: Good, kind: str, answer: Answer) -> None:
        """Compare the answer to a good request with the expected classes."""
        self._expect(kind, answer, (200,))
        if answer.status == 200 and (found := good.read(answer.body)) != good.classes:
            self._tally.fault("wrong class", kind, right=good.classes, found=found)

    def _expect(self, kind: str, answer: Answer, right: Collection[int], **details: Any) -> None:
        self._tally.note(kind, answer)
        if answer.status not in (*right, OVERLOADED):
            body = answer.body[:300].decode(errors="replace")
            self._tally.fault("other status", kind, status=answer.status, body=body, **details)
