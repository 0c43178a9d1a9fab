"""How OpenMP's threads wait for each other. To be chosen before torch is loaded.

By default they spin: nothing is faster while they have the cores to themselves
(a fifth, for batches as small as ours), and nothing slower than a thread that
spins on the core which the thread it waits for needs (5 times and more, beside
one other busy program).
"""

import os
import time
from pathlib import Path

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
PROC_STAT = Path("/proc/stat")
SAMPLE_SECONDS = 0.2
IDLE_ENOUGH = 0.3  # cores that others may use


def choose_waiting() -> dict[str, str]:
    """Return the environment variables to set, none where spinning is best or the user chose."""
    if any(name in os.environ for name in SETTINGS) or busy_cores() < IDLE_ENOUGH:
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE"}


def busy_cores() -> float:
    """Measure for a moment how many cores are at work, this process asleep; 0 if not on Linux."""
    if not PROC_STAT.exists():
        return 0.0
    before, start = _busy_seconds(), time.perf_counter()
    time.sleep(SAMPLE_SECONDS)
    return (_busy_seconds() - before) / (time.perf_counter() - start)


def _busy_seconds() -> float:
    """Read proc(5)'s first line: "cpu user nice system idle iowait irq ...", in clock ticks."""
    ticks = [int(word) for word in PROC_STAT.read_text().splitlines()[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")
