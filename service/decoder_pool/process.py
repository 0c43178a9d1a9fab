"""The decoder processes, and the fork server that starts them.

    python -m service.decoder_pool.process < SOCKET

A file of a hundred bytes can claim gigabytes, and some decoders run for seconds in one call that
nothing within their process can end. Here the kernel refuses the memory and ends the process.

For each byte received through the socket, together with another socket, the server forks a process.
It decodes the jobs from that other socket, within the limits that the byte selects. If it dies, the
last byte sent back is the signal's number. All processes end when the first socket is closed.
"""

import ctypes
import errno
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import FrameType

from PIL import Image

from service.decoder_pool.limits import LIMITS, Limits
from service.decoder_pool.messages import (
    pack_error,
    pack_failure,
    pack_passed_on,
    pack_seen,
    read_head,
)
from service.errors import RequestError
from service.malloc import give_back_freed, tune_malloc_for_server
from service.preprocessing.decoding import Job, LargeJob, decode
from service.preprocessing.formats import FORMATS
from service.signature import ImageSpec

# One of each pipeline, so that a forked process imports nothing.
WARM_UP = (ImageSpec(1, 28, 28, "fashion-mnist"), ImageSpec(3, 32, 32, "center-crop", 40))
ENDED_BY_WORKER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # sent to others, not to us


class ForkServer:
    """Forks decoder processes, and knows which of them live."""

    def __init__(self, control: socket.socket) -> None:
        """Serve the orders from a socket."""
        self._control = control
        self._links: dict[int, socket.socket] = {}  # by the id of the process at the other end

    def serve(self) -> None:
        """Fork until the socket is closed, then end all processes."""
        signal.signal(signal.SIGCHLD, self._reap)
        while True:
            kind, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
            if not kind:
                break
            self._fork(kind, socket.socket(fileno=descriptors[0]))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in self._links:
            os.kill(process, signal.SIGKILL)

    def _fork(self, kind: bytes, link: socket.socket) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            for other in (self._control, *self._links.values()):
                other.close()
            work(link, LIMITS[kind])
            os._exit(0)
        self._links[process] = link
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _reap(self, number: int, frame: FrameType | None) -> None:
        while self._links:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            with self._links.pop(process) as link, suppress(OSError):
                link.send(bytes([os.WTERMSIG(status)]))


def work(link: socket.socket, limits: Limits) -> None:
    """Decode the jobs from a socket, until it is closed."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # C libraries print messages about a file
        os.dup2(null, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = _address_space()
    with link, link.makefile("rb") as file:
        while (head := read_head(file)) is not None:
            lengths, job = head
            _limit_memory(size + limits.memory + sum(lengths))
            job = job._replace(contents=[file.read(length) for length in lengths])
            signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # SIGPROF ends the process
            answer = answer_job(job, limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            del job
            link.sendall(answer)
            gc.collect()  # an error and its frames refer to each other and keep the pixels
            if limits.final or len(lengths) > 1:
                give_back_freed()


def answer_job(job: Job, limits: Limits) -> bytes:
    """Return the answer to a job."""
    _forget_lack_of_memory()
    try:
        return pack_seen(decode(job, limits.pixels))
    except LargeJob:
        return pack_passed_on()
    except RequestError as error:
        if not _lacked_memory(error):
            return pack_error(error)
    except MemoryError:
        pass
    except Exception:
        return pack_failure(traceback.format_exc())
    return pack_error(limits.refuse_memory()) if limits.final else pack_passed_on()


# If a C library gets no memory, it reports a broken file. Only errno shows the difference.


def _lacked_memory(error: RequestError) -> bool:
    causes = (error.__cause__, getattr(error.__cause__, "__cause__", None))
    if any(isinstance(cause, MemoryError) for cause in causes):
        return True
    return ERRNO is not None and ERRNO().contents.value == errno.ENOMEM


def _forget_lack_of_memory() -> None:
    if ERRNO is not None:
        ERRNO().contents.value = 0


def _limit_memory(size: int) -> None:
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def _address_space() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


ERRNO = ctypes.CDLL(None).__errno_location if sys.platform == "linux" else None
if ERRNO is not None:
    ERRNO.restype = ctypes.POINTER(ctypes.c_int)


def warm_up() -> None:
    """Import all that decoding needs, including each of Pillow's readers."""
    Image.init()
    for kind in FORMATS:
        file = BytesIO()
        Image.new("RGB", (300, 300)).save(file, kind.pillow)
        for spec in WARM_UP:
            decode(Job([file.getvalue()], [], 90_000, spec))


def main() -> None:
    """Serve the worker whose socket is the standard input."""
    for number in ENDED_BY_WORKER:
        signal.signal(number, signal.SIG_IGN)
    tune_malloc_for_server()
    warm_up()
    gc.collect()
    gc.freeze()  # so that no collection touches, and so copies, the shared memory
    with socket.socket(fileno=os.dup(0)) as control:
        ForkServer(control).serve()


if __name__ == "__main__":
    main()
