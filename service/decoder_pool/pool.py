"""A worker's decoder processes: what is not small and plain is decoded there, within limits."""

import asyncio
import heapq
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from service.decoder_pool.limits import LARGE, LIMITS, SMALL
from service.decoder_pool.messages import Incomplete, pack_job, unpack_answer
from service.errors import InvalidInput, NotReady, Overloaded, RequestError
from service.preprocessing.decoding import Job, decode
from service.preprocessing.pipeline import PreprocessedImage

logger = logging.getLogger("bentoml.fashion_lenet")

PROCESSES = {
    SMALL: 2,
    LARGE: 2,
}  # for each worker; two at a time as a worker has two cores or fewer
SMALL_BYTES = 2**20  # what has more goes to those for large ones at once
PIECE = 64 * 1024
STOP_SECONDS = 5.0

SECRET = ("FASHION_", "OTEL_", "BENTOML_")  # settings that a decoder has no need of


class Decoders:
    """Decoder processes that are there as long as their worker, or are replaced."""

    def __init__(self) -> None:
        """Start none yet."""
        self._forks: _ForkServer | None = None
        self._lanes: dict[bytes, _Lane] = {}

    def start(self) -> None:
        """Start them, and do not wait for them."""
        if sys.platform == "win32":  # which has no fork
            return
        self._forks = _ForkServer()
        self._lanes = {kind: _Lane(kind, self._forks) for kind in PROCESSES}

    async def decode(self, job: Job) -> list[PreprocessedImage]:
        """Decode the pictures of a request.

        What turns out to take more than the small ones may is done again by those for large ones,
        so that the small do not wait for the large.

        Raises:
            InvalidInput, TooLarge: as `service.preprocessing.decoding.decode` does, or the limits
                of `service.decoder_pool.process` are reached.
            Overloaded: the system has ended the process.
            NotReady: none can be started.
        """
        if not self._lanes:
            return await asyncio.to_thread(decode, job)
        if sum(len(content) for content in job.contents) <= SMALL_BYTES:
            answer = await self._lanes[SMALL].decode(job)
            if isinstance(answer, list):
                return answer
            if isinstance(answer, RequestError):
                raise answer
        answer = await self._lanes[LARGE].decode(job)
        if isinstance(answer, list):
            return answer
        raise answer if isinstance(answer, RequestError) else _refusal(answer)

    async def close(self) -> None:
        """End them."""
        if self._forks is not None:
            await self._forks.close()
        for lane in self._lanes.values():
            await lane.close()


def _refusal(number: signal.Signals | None) -> RequestError:
    """Say why a process ended that decoded a picture."""
    limits = LIMITS[LARGE]
    if number == signal.SIGPROF:
        return limits.refuse_time()
    if number in (signal.SIGKILL, None):
        return Overloaded(
            "the system has ended the process that decoded the image, as it does where memory is "
            "short: try again"
        )
    return InvalidInput(f"the image is broken: its decoder ended with {number!r}")


class _Lane:
    """Processes with the same limits, of which each decodes one job at a time.

    The smallest file waits the shortest, so that a photograph does not wait for sixty that are bad.
    """

    def __init__(self, kind: bytes, forks: "_ForkServer") -> None:
        self._kind, self._forks = kind, forks
        self._idle = [forks.fork(kind) for _ in range(PROCESSES[kind])]
        self._waiting: list[tuple[int, int, asyncio.Future[socket.socket]]] = []  # a heap
        self._numbers = itertools.count()
        self._running: set[asyncio.Task[_Answer]] = set()

    async def decode(self, job: Job) -> "_Answer":
        """Wait for a process and its answer; a signal if it died of the job."""
        link = await self._take(sum(len(content) for content in job.contents))
        # A client that leaves does not end it: what is left of its answer would come to the next.
        task = asyncio.ensure_future(self._exchange(link, job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _take(self, size: int) -> socket.socket:
        if self._idle:
            return self._idle.pop()
        turn: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (size, next(self._numbers), turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # both at once
                self._give(turn.result())
            raise

    def _give(self, link: socket.socket) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():  # its client is still there
                turn.set_result(link)
                return
        self._idle.append(link)

    async def _exchange(self, link: socket.socket, job: Job) -> "_Answer":
        try:
            if not _is_alive(link):
                link.close()
                link = self._forks.fork(self._kind)
            parts = _parts(job)
            del job  # it may be large, and once sent it is not needed
            return await _ask(link, parts)
        finally:
            self._give(link)

    async def close(self) -> None:
        """Let go of processes that have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
        for link in self._idle:
            link.close()


_Answer = list[PreprocessedImage] | RequestError | signal.Signals | None


def _parts(job: Job) -> deque[bytes]:
    """Return what is sent for a job: a small one in one go."""
    parts = deque((pack_job(job), *job.contents))
    return parts if sum(map(len, parts)) > PIECE else deque((b"".join(parts),))


async def _ask(link: socket.socket, parts: deque[bytes]) -> _Answer:
    """Have a process decode; return its answer, None if it passes that on, or what it died of.

    Each part of the job is let go of once it is sent.
    """
    loop = asyncio.get_running_loop()
    received = bytearray()
    with suppress(OSError):  # it is dead; what of comes last
        while parts:
            await loop.sock_sendall(link, parts.popleft())
    with suppress(OSError):
        while piece := await loop.sock_recv(link, PIECE):
            received += piece
            with suppress(Incomplete):
                return unpack_answer(received)
    return signal.Signals(received[-1]) if received and received[-1] else signal.SIGKILL


def _is_alive(link: socket.socket) -> bool:
    """Whether a process is there that has nothing to say: the dead leave the number of a signal."""
    try:
        link.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class _ForkServer:
    """The process that the decoders are forked from."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, kind: bytes) -> socket.socket:
        """Have a process forked, and return the socket to speak to it.

        Raises:
            NotReady: none can be started.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._order(kind, theirs)
        except OSError as error:
            logger.error("No process to decode pictures: %s", error)
            raise NotReady(
                f"no process to decode pictures can be started: {error.strerror}"
            ) from error
        ours.setblocking(False)
        return ours

    def _order(self, kind: bytes, link: socket.socket) -> None:
        if self._control is not None and self._process and self._process.poll() is None:
            with suppress(BrokenPipeError):
                socket.send_fds(self._control, [kind], [link.fileno()])
                return
        self._control = self._start()
        socket.send_fds(self._control, [kind], [link.fileno()])

    def _start(self) -> socket.socket:
        if self._control is not None:
            self._control.close()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
        paths = [str(Path(__file__).parents[2]), *filter(None, [kept.get("PYTHONPATH")])]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.decoder_pool.process"],
                env={**kept, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
            )
        return ours

    async def close(self) -> None:
        """End it, and with it all that it forked."""
        if self._control is None or self._process is None:
            return
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
