"""What the workers use of their machine, and how often one is replaced, as their metrics tell.

Prometheus's client has metrics of a process, but not where several count into one folder.
"""

import asyncio
import os
import time

import psutil  # type: ignore[import-untyped]
from prometheus_client import Counter, Gauge

from service.supervision import REPLACED

SECONDS = 1.0

CPU_SECONDS = Counter(
    "fashion_cpu_seconds", "CPU time of all workers, those that ended among them."
)
MEMORY = Gauge(
    "fashion_resident_memory_bytes",
    "Memory that the workers have, the resident set of each added up.",
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


async def tell() -> None:
    """Tell Prometheus again and again what this worker uses; never returns."""
    worker = psutil.Process()
    START_TIME.set(psutil.Process(os.getppid()).create_time())
    RESTARTS.set(max(0, int(os.environ.get(REPLACED, "0"))))
    told = 0.0
    while True:
        used = time.process_time()
        CPU_SECONDS.inc(used - told)
        told = used
        MEMORY.set(worker.memory_info().rss)
        await asyncio.sleep(SECONDS)
