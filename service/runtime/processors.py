"""How many processors a process may use."""

import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux, cgroup v2: microseconds of a period, and its length


def processors() -> int:
    """Return how many processors this process may use, by its affinity and its quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or `max` for no quota
        quota, period = map(int, QUOTA.read_text().split())
        count = min(count, max(1, quota // period))
    return count
