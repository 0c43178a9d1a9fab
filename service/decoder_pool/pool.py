"""A worker's decoder processes, for images that are not decoded inline."""

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
from service.signature import ImageSpec

logger = logging.getLogger("bentoml.fashion_lenet")

PROCESSES = {
    SMALL: 2,
    LARGE: 2,
}  # for each worker; two of a kind, because a worker has at most two cores
SMALL_BYTES = 2**20  # a larger job goes directly to the processes for large jobs
RECEIVE_BYTES = 64 * 1024  # of a socket at a time
STOP_SECONDS = 5.0

SECRET = ("FASHION_", "OTEL_", "BENTOML_")  # settings that a decoder does not need


class Decoders:
    """Decoder processes that live as long as their worker; one that dies is replaced."""

    def __init__(self) -> None:
        """Create the pool without processes."""
        self._forks: _ForkServer | None = None
        self._lanes: dict[bytes, _Lane] = {}

    def start(self) -> None:
        """Start the processes, without waiting for them."""
        if sys.platform == "win32":  # which has no fork
            return
        self._forks = _ForkServer()
        self._lanes = {kind: _Lane(kind, self._forks) for kind in PROCESSES}

    async def decode(self, job: Job) -> list[PreprocessedImage]:
        """Return a request's images, preprocessed.

        A job that exceeds the limits for small jobs is repeated by the processes for large jobs,
        so that small jobs do not wait for large ones.

        Raises:
            InvalidInput, TooLarge: as in `service.preprocessing.decoding.decode`, or the limits of
                `service.decoder_pool.limits` are reached.
            Overloaded: the system has ended the process.
            NotReady: no process can be started.
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
        """End the processes."""
        if self._forks is not None:
            await self._forks.close()
        for lane in self._lanes.values():
            await lane.close()


def _refusal(number: signal.Signals | None) -> RequestError:
    """Return the error for a decoder process that ended during a job."""
    limits = LIMITS[LARGE]
    if number == signal.SIGPROF:
        return limits.refuse_time()
    if number in (signal.SIGKILL, None):
        return Overloaded(
            "the system has ended the process that decoded the image, as it does when memory is "
            "short: try again"
        )
    return InvalidInput(f"the image is broken: its decoder ended with {number!r}")


class _Lane:
    """Processes with the same limits; each decodes one job at a time.

    The smallest waiting job is next, so that a photograph does not wait for sixty bad files.
    """

    def __init__(self, kind: bytes, forks: "_ForkServer") -> None:
        self._kind, self._forks = kind, forks
        self._idle = [forks.fork(kind) for _ in range(PROCESSES[kind])]
        self._waiting: list[tuple[int, int, asyncio.Future[socket.socket]]] = []  # a heap
        self._numbers = itertools.count()
        self._running: set[asyncio.Task[_Answer]] = set()

    async def decode(self, job: Job) -> "_Answer":
        """Return a process's answer to a job; a signal if the process died."""
        link = await self._acquire(sum(len(content) for content in job.contents))
        # If a client disconnects, the job still runs to its end: the rest of its answer would
        # otherwise be read as the answer to the next job.
        task = asyncio.ensure_future(self._exchange(link, job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _acquire(self, size: int) -> socket.socket:
        if self._idle:
            return self._idle.pop()
        turn: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (size, next(self._numbers), turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # both at once
                self._release(turn.result())
            raise

    def _release(self, link: socket.socket) -> None:
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
            parts, spec = _parts(job), job.spec
            del job  # it may be large, and is not needed after it is sent
            return await _ask(link, parts, spec)
        finally:
            self._release(link)

    async def close(self) -> None:
        """Close the sockets, after all running jobs have finished."""
        await asyncio.gather(*self._running, return_exceptions=True)
        for link in self._idle:
            link.close()


_Answer = list[PreprocessedImage] | RequestError | signal.Signals | None


def _parts(job: Job) -> deque[bytes]:
    """Return the parts of a job's message; a small job is one part."""
    parts = deque((pack_job(job), *job.contents))
    return parts if sum(map(len, parts)) > RECEIVE_BYTES else deque((b"".join(parts),))


async def _ask(link: socket.socket, parts: deque[bytes], spec: ImageSpec) -> _Answer:
    """Return a process's answer to a job, None if it passes the job on, or the signal it died of.

    Each part of the job is freed after it is sent.
    """
    loop = asyncio.get_running_loop()
    received = bytearray()
    with suppress(OSError):  # the process is dead; the last byte is the signal
        while parts:
            await loop.sock_sendall(link, parts.popleft())
    with suppress(OSError):
        while piece := await loop.sock_recv(link, RECEIVE_BYTES):
            received += piece
            with suppress(Incomplete):
                return unpack_answer(received, spec)
    return signal.Signals(received[-1]) if received and received[-1] else signal.SIGKILL


def _is_alive(link: socket.socket) -> bool:
    """Return whether a process lives: a dead one leaves the number of a signal to read."""
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
        """Return the socket of a newly forked process.

        Raises:
            NotReady: no process can be started.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._order(kind, theirs)
        except OSError as error:
            logger.error("No decoder process can be started: %s", error)
            raise NotReady(f"no decoder process can be started: {error.strerror}") from error
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
        """End the fork server, and with it all processes that it forked."""
        if self._control is None or self._process is None:
            return
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
