"""What workers and their decoders use of the machine, and how often a worker is replaced.

Prometheus's client has metrics of a process, but not where several count into one folder.
"""

import asyncio
import os
from contextlib import suppress

import psutil  # type: ignore[import-untyped]
from prometheus_client import Counter, Gauge

from service.server.supervisor import REPLACED

SECONDS = 5.0  # to look through a busy machine's processes takes some 20 ms of a processor

CPU_SECONDS = Counter(
    "fashion_cpu_seconds",
    "CPU time of the workers and of the processes that decode for them, also of those that ended.",
)
MEMORY = Gauge(
    "fashion_memory_bytes",
    "Memory of the workers and of the processes that decode for them.",
    multiprocess_mode="livesum",
)
RESTARTS = Gauge(
    "fashion_worker_restarts",
    "Workers that took the place of another since the server started.",
    multiprocess_mode="livemax",
)
START_TIME = Gauge(
    "fashion_start_time_seconds",
    "When the server started, in seconds since 1970.",
    multiprocess_mode="livemax",
)


async def sample_process() -> None:
    """Tell Prometheus again and again what this worker uses; never returns."""
    START_TIME.set(psutil.Process(os.getppid()).create_time())
    RESTARTS.set(max(0, int(os.environ.get(REPLACED, "0"))))
    told = 0.0
    while True:
        seconds, memory = await asyncio.to_thread(used)
        CPU_SECONDS.inc(max(0.0, seconds - told))  # what has just ended may not be counted yet
        told = max(told, seconds)
        MEMORY.set(memory)
        await asyncio.sleep(SECONDS)


def used() -> tuple[float, int]:
    """Return the CPU time in seconds and the memory in bytes of this process and those below it.

    What processes share is divided among them where the system tells (Linux: PSS in proc(5));
    those that are forked share most.
    """
    seconds, memory = 0.0, 0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # its own, and of those below it that ended
            found = process.memory_full_info()
            memory += getattr(found, "pss", found.rss)
    return seconds, memory
