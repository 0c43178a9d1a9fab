"""Send valid, bad and slow traffic for 20 minutes; compare the service before and after.

    python -m benchmarks.soak [--minutes 20]

The service is what `make serve` starts, with two workers. Its clients send good pictures by form
and body, photographs, batches, JSON and tensors, and compare every class with what ONNX Runtime
says; the cases of tests/hostile; paths and bodies that are never the same; bodies over the limit;
heads and bodies of a byte a second; they hang up within requests; and each half minute 1,200 of
them ask at once, which is more than two workers admit. Each minute the model is loaded again
(SIGHUP), and in the middle a worker is killed (SIGKILL): only requests on its own connections may
fail.

Before the first figure there is traffic for a tenth of the time, two minutes at most, and a rest.
Everything is written to runs/soak.json. The exit status is not 0 if a good request got a wrong
class, any request an answer of 500 or above or a status that its kind should not get, a connection
broke that should not, a worker grew by more than 20 MiB, or a process has more descriptors or
threads.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.http.peers import ROOT, Running, running
from benchmarks.http.shipped import BENTOML, WORKER, shipped, workers
from benchmarks.soak.clients import Clients
from benchmarks.soak.connection import Tally
from benchmarks.soak.requests import good_requests

WORKERS = 2
EACH = 40  # good requests of each kind
MOST_GROWTH = 20.0  # MiB
SAMPLE_SECONDS = BURST_SECONDS = 30.0
RELOAD_SECONDS = 60.0
WARM_UP_SECONDS = 120.0
REST_SECONDS = 10.0

Sample = dict[str, float]
Samples = dict[str, Sample]  # by process


def main() -> None:
    """Soak, print, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument(
        "--any-growth", action="store_true", help="for a run that is too short to warm up"
    )
    parser.add_argument("--bentoml", type=Path, default=BENTOML, help="the program that serves")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder for the results")
    arguments = parser.parse_args()
    server = shipped(arguments.bentoml)
    settings = {"FASHION_DEVICE": "cpu", "FASHION_WORKERS": str(WORKERS)}
    cores = f"0-{(os.cpu_count() or 1) - 1}"
    with tempfile.TemporaryDirectory() as name:
        with running(server, Path(name), cores, settings) as process:
            soak = Soak(process, server.port, arguments.minutes * 60)
            asyncio.run(soak.run())
        found = soak.found()
        found["tracebacks"] = (
            (Path(name) / "server.log").read_text(errors="replace").count("Traceback")
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "soak.json").write_text(json.dumps(found, indent=2) + "\n")
    show(found)
    faults = judge(found)
    if not arguments.any_growth:
        faults += judge_growth(found["before"], found["after"])
    if faults:
        raise SystemExit("\n".join(faults))


class Soak:
    """Traffic on a running service, and measurements during it."""

    def __init__(self, service: Running, port: int, seconds: float) -> None:
        """Send traffic for some seconds, with at least three of each occasional event."""
        self._service, self._port, self._seconds = service, port, seconds
        self._good = good_requests(EACH)
        self._warm_up = Tally()
        self._tally = Tally()
        self._samples: list[tuple[float, int, Samples]] = []
        self._ends: list[Samples] = []
        self._killed = 0

    async def run(self) -> None:
        """Warm up, rest, look, have the traffic, rest, and look again."""
        clients = self._clients(self._warm_up)
        await clients.fill_threads()
        await clients.send_for(min(WARM_UP_SECONDS, self._seconds / 10))
        await self._rest()
        self._tally.begun = time.monotonic()
        meanwhile = [asyncio.create_task(do()) for do in (self._watch, self._reload, self._kill)]
        await self._clients(self._tally).send_for(self._seconds)
        for task in meanwhile:
            if task.done():
                task.result()
            task.cancel()
        await self._rest()

    def found(self) -> dict[str, Any]:
        """Return all that was seen."""
        before, after = self._ends
        tally = self._tally
        early = {f"{what}, in the warm-up": seen for what, seen in self._warm_up.faults.items()}
        return {
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "seconds": self._seconds,
            "requests": tally.total(),
            "left": tally.left,
            "statuses": tally.statuses,
            "faults": {**tally.faults, **early},
            "killed": {"worker": self._killed, "its requests": tally.killed},
            "before": before,
            "after": after,
            "samples": self._samples,
        }

    def _clients(self, tally: Tally) -> Clients:
        return Clients(self._port, tally, self._good, self._often(BURST_SECONDS))

    def _often(self, seconds: float) -> float:
        return min(seconds, self._seconds / 4)

    async def _rest(self) -> None:
        await asyncio.sleep(min(REST_SECONDS, self._seconds / 4))
        self._ends.append(self._look())

    def _look(self) -> Samples:
        parent = psutil.Process(self._service.process.pid)
        found = {"parent": look_at(parent)}
        for child in parent.children():
            with suppress(psutil.NoSuchProcess):  # it was killed just now
                if WORKER in " ".join(child.cmdline()):
                    found[f"worker {child.pid}"] = look_at(child)
        return found

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._often(SAMPLE_SECONDS))
            seconds = round(time.monotonic() - self._tally.begun, 1)
            self._samples.append((seconds, self._tally.total(), self._look()))

    async def _reload(self) -> None:
        while True:
            await asyncio.sleep(self._often(RELOAD_SECONDS))
            os.kill(self._service.process.pid, signal.SIGHUP)

    async def _kill(self) -> None:
        """Kill a worker, when it is known which connections are its own."""
        await asyncio.sleep(self._seconds / 2)
        victim = workers(self._service)[0]
        victim.suspend()
        connections = victim.net_connections("tcp")
        self._tally.doomed |= {each.raddr.port for each in connections if each.raddr}
        victim.kill()
        self._killed = victim.pid


def look_at(process: psutil.Process) -> Sample:
    """Return memory in MiB, descriptors and threads of a process."""
    memory: Any = process.memory_full_info()
    return {
        "rss_mib": memory.rss / 2**20,
        "uss_mib": memory.uss / 2**20,
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
    }


def judge(found: dict[str, Any]) -> list[str]:
    """Return what was wrong with the answers."""
    faults = [
        f"{len(seen)} x {what}, the first: {seen[0]}" for what, seen in found["faults"].items()
    ]
    workers_then, workers_now = len(found["before"]) - 1, len(found["after"]) - 1
    if workers_now != workers_then:
        faults.append(f"there were {workers_then} workers, and now there are {workers_now}")
    if found["tracebacks"]:
        faults.append(f"the log has {found['tracebacks']} tracebacks")
    return faults


def judge_growth(before: Samples, after: Samples) -> list[str]:
    """Return which processes have grown; a later one is compared with the largest before."""
    faults = []
    for process, row in after.items():
        usual = {name: max(each[name] for each in before.values()) for name in row}
        limits = {**before.get(process, usual)}
        limits["rss_mib"] += MOST_GROWTH
        faults += [
            f"{process}: {name} grew from {before.get(process, usual)[name]:g} to {row[name]:g}"
            for name in ("rss_mib", "descriptors", "threads")
            if row[name] > limits[name]
        ]
    return faults


def show(found: dict[str, Any]) -> None:
    """Print what was sent, and the service before and after."""
    print(f"{found['requests']:,} requests in {found['seconds']:g} s, {found['left']:,} hung up")
    for kind, statuses in sorted(found["statuses"].items()):
        counts = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
        print(f"  {kind:22} {counts}")
    print(
        f"  killed with worker {found['killed']['worker']}: {dict(found['killed']['its requests'])}"
    )
    print(f"\n{'':16}{'RSS, MiB':>18}{'USS, MiB':>18}{'descriptors':>16}{'threads':>12}")
    for process in {**found["before"], **found["after"]}:
        rows = [found[when].get(process) for when in ("before", "after")]
        cells = [
            " > ".join("-" if row is None else f"{row[name]:.{digits}f}" for row in rows)
            for name, digits in (("rss_mib", 1), ("uss_mib", 1), ("descriptors", 0), ("threads", 0))
        ]
        print(f"{process:16}{cells[0]:>18}{cells[1]:>18}{cells[2]:>16}{cells[3]:>12}")


if __name__ == "__main__":
    main()
