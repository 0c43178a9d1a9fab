"""Memory, descriptors and threads of a server's processes: read, judged and printed."""

from contextlib import suppress
from typing import Any

import psutil

from benchmarks.http.peers import Running
from benchmarks.http.shipped import WORKER

MOST_GROWTH, MOST_PART = 20.0, 0.1  # MiB, or a tenth: malloc keeps more where networks are large

Sample = dict[str, float]
Samples = dict[str, Sample]  # by process


def look(service: Running) -> Samples:
    """Return the resources of a server's parent process and its workers."""
    parent = psutil.Process(service.process.pid)
    found = {"parent": _look_at(parent)}
    for child in parent.children():
        with suppress(psutil.NoSuchProcess):  # it was killed just now
            if WORKER in " ".join(child.cmdline()):
                found[f"worker {child.pid}"] = _look_at(child)
    return found


def _look_at(process: psutil.Process) -> Sample:
    """Return memory in MiB, descriptors and threads of a process."""
    memory: Any = process.memory_full_info()
    return {
        "rss_mib": memory.rss / 2**20,
        "uss_mib": memory.uss / 2**20,
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


def judge_growth(before: Samples, after: Samples) -> list[str]:
    """Return which processes have grown; a later one is compared with the largest before."""
    faults = []
    for process, row in after.items():
        usual = {name: max(each[name] for each in before.values()) for name in row}
        limits = {**before.get(process, usual)}
        limits["rss_mib"] += max(MOST_GROWTH, MOST_PART * limits["rss_mib"])
        faults += [
            f"{process}: {name} grew from {before.get(process, usual)[name]:g} to {row[name]:g}"
            for name in ("rss_mib", "descriptors", "threads")
            if row[name] > limits[name]
        ]
    return faults


def show_resources(before: Samples, after: Samples) -> None:
    """Print the processes before and after."""
    print(f"\n{'':16}{'RSS, MiB':>18}{'USS, MiB':>18}{'descriptors':>16}{'threads':>12}")
    for process in {**before, **after}:
        rows = [samples.get(process) for samples in (before, after)]
        cells = [
            " > ".join("-" if row is None else f"{row[name]:.{digits}f}" for row in rows)
            for name, digits in (("rss_mib", 1), ("uss_mib", 1), ("descriptors", 0), ("threads", 0))
        ]
        print(f"{process:16}{cells[0]:>18}{cells[1]:>18}{cells[2]:>16}{cells[3]:>12}")
