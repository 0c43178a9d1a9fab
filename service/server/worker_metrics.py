"""Metrics of the CPU time and memory of workers and their decoders, and of worker restarts.

Prometheus's client has process metrics, but not in multi-process mode.
"""

import asyncio
import os
from contextlib import suppress

import psutil  # type: ignore[import-untyped]
from prometheus_client import Counter, Gauge

from service.server.supervisor import REPLACED

SAMPLE_INTERVAL_SECONDS = (
    5.0  # listing the processes of a busy machine takes about 20 ms of CPU time
)

CPU_SECONDS = Counter(
    "fashion_cpu_seconds",
    "CPU time of the workers and their decoder processes, including those that ended.",
)
MEMORY = Gauge(
    "fashion_memory_bytes",
    "Memory of the workers and their decoder processes.",
    multiprocess_mode="livesum",
)
RESTARTS = Gauge(
    "fashion_worker_restarts",
    "Workers that replaced another one since the server started.",
    multiprocess_mode="livemax",
)
START_TIME = Gauge(
    "fashion_start_time_seconds",
    "When the server started, in seconds since 1970.",
    multiprocess_mode="livemax",
)


async def sample_process() -> None:
    """Update the metrics of this worker every 5 seconds; never returns."""
    START_TIME.set(psutil.Process(os.getppid()).create_time())
    RESTARTS.set(max(0, int(os.environ.get(REPLACED, "0"))))
    counted = 0.0
    while True:
        seconds, memory = await asyncio.to_thread(used)
        CPU_SECONDS.inc(max(0.0, seconds - counted))  # a process that just ended may be missing
        counted = max(counted, seconds)
        MEMORY.set(memory)
        await asyncio.sleep(SAMPLE_INTERVAL_SECONDS)


def used() -> tuple[float, int]:
    """Return the CPU time in seconds and the memory in bytes of this process and its descendants.

    Shared memory is divided among the processes if the system reports it (Linux: PSS in proc(5));
    forked processes share most of theirs.
    """
    seconds, memory = 0.0, 0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # its own, and its children's that ended
            found = process.memory_full_info()
            memory += getattr(found, "pss", found.rss)
    return seconds, memory
