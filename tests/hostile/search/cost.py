"""What one file costs its reader: memory and processor's time, in a process with limits."""

import json
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

MIB = 2**20
ADDRESS_SPACE = 1024 * MIB  # beyond what the process has as it begins
SECONDS = 10.0  # of a processor's time
RESET_PEAK = "5"  # proc(5), clear_refs


class MakeError(Exception):
    """What a generator drew makes no file."""


class Cost(NamedTuple):
    """What reading one file took."""

    size: int  # bytes of the file
    memory: int  # bytes at most, above the start
    seconds: float  # of a processor's time
    outcome: str  # "taken", the kind of error, or the signal that ended the process

    @property
    def memory_per_byte(self) -> float:
        """Bytes of memory for each byte of the file."""
        return self.memory / max(1, self.size)

    @property
    def seconds_per_byte(self) -> float:
        """Processor's time for each byte of the file."""
        return self.seconds / max(1, self.size)


def measure(
    make: Callable[[], bytes],
    read: Callable[[Path], object],
    path: Path,
    limit: float = SECONDS,
) -> Cost:
    """Make a file and read it, both in a process of its own.

    Args:
        make: returns the file.
        read: what is measured.
        path: where the file is left.
        limit: seconds of a processor's time for reading it.

    Raises:
        MakeError: there is no such file.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _work(make, read, path, writer, limit)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        told = [json.loads(line) for line in lines.read().splitlines()]
    _, status, usage = os.wait4(child, 0)
    if told and isinstance(told[0], str):
        raise MakeError(told[0])
    if len(told) == 2:
        return Cost(*told[1])
    # It ended within its work. Of what it had before, its peak is no less than now.
    number = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
    size, start, spent = told[0] if told else (0, 0, 0.0)
    seconds = usage.ru_utime + usage.ru_stime - spent
    return Cost(size, max(0, usage.ru_maxrss * 1024 - start), seconds, number)


def _work(
    make: Callable[[], bytes],
    read: Callable[[Path], object],
    path: Path,
    writer: int,
    limit: float,
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # C libraries write what they think of a file
        os.dup2(null, descriptor)
    signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        content = make()
    except Exception:
        _tell(writer, traceback.format_exc())
        return
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    path.write_bytes(content)
    size = len(content)
    del content
    most = _status("VmSize:") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    start, spent = _status("VmRSS:"), time.process_time()
    _tell(writer, [size, start, spent])
    signal.setitimer(signal.ITIMER_PROF, limit)  # SIGPROF ends the process
    outcome = "taken"
    try:
        read(path)
    except Exception as error:
        outcome = type(error).__name__
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - spent
    _tell(writer, [size, max(0, _status("VmHWM:") - start), seconds, outcome])


def _give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"not made in {SECONDS} s")


def _status(name: str) -> int:
    """Bytes, as the kernel tells a process of itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _tell(writer: int, values: list[object] | str) -> None:
    os.write(writer, json.dumps(values).encode() + b"\n")
