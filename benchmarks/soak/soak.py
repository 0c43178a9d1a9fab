"""What every soak has: traffic on a service, a worker killed meanwhile, and what is left of it."""

import argparse
import asyncio
import json
import os
import platform
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.http.peers import ROOT, Running, running
from benchmarks.http.shipped import BENTOML, shipped, workers
from benchmarks.soak.connection import Tally
from benchmarks.soak.resources import Samples, judge_growth, look, show_resources

WORKERS = 2
SAMPLE_SECONDS = 30.0
RELOAD_SECONDS = 60.0
WARM_UP_SECONDS = 120.0
REST_SECONDS = 10.0

Loop = Coroutine[Any, Any, None]


async def send_for(seconds: float, loops: Iterable[Loop]) -> None:
    """Run clients for some seconds, then drop their requests in flight."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    done, running = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for task in done:
        task.result()  # a client never ends by itself, but by an error


class Soak(ABC):
    """Traffic on a running service, and measurements during it."""

    def __init__(self, service: Running, port: int, seconds: float) -> None:
        """Send traffic for some seconds, with at least three of each occasional event."""
        self._service, self._port, self._seconds = service, port, seconds
        self._warm_up = Tally()
        self._tally = Tally()
        self._samples: list[tuple[float, int, Samples]] = []
        self._ends: list[Samples] = []
        self._killed = 0

    @abstractmethod
    def _clients(self, tally: Tally) -> Iterable[Loop]:
        """Return clients, which count in a tally and never end."""

    def _events(self) -> Sequence[Callable[[], Loop]]:
        """Return what else is done while there is traffic."""
        return (self._watch, self._reload, self._kill)

    def _before_reload(self) -> None:  # noqa: B027
        """Change what the server loads again."""

    async def run(self) -> None:
        """Warm up, rest, look, have the traffic, rest, and look again."""
        await send_for(min(WARM_UP_SECONDS, self._seconds / 10), self._clients(self._warm_up))
        await self._rest()
        self._tally.begun = time.monotonic()
        meanwhile = [asyncio.create_task(do()) for do in self._events()]
        await send_for(self._seconds, self._clients(self._tally))
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

    def _often(self, seconds: float) -> float:
        return min(seconds, self._seconds / 4)

    async def _rest(self) -> None:
        await asyncio.sleep(min(REST_SECONDS, self._seconds / 4))
        self._ends.append(look(self._service))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._often(SAMPLE_SECONDS))
            seconds = round(time.monotonic() - self._tally.begun, 1)
            self._samples.append((seconds, self._tally.total(), look(self._service)))

    async def _reload(self) -> None:
        while True:
            await asyncio.sleep(self._often(RELOAD_SECONDS))
            self._before_reload()
            os.kill(self._service.process.pid, signal.SIGHUP)

    async def _kill(self) -> None:
        """Kill a worker, when it is known which connections are its own."""
        await asyncio.sleep(self._seconds / 2)
        victim = workers(self._service)[0]
        victim.suspend()
        connections = victim.net_connections("tcp")
        self._tally.doomed = {c.raddr.port: c.laddr.port for c in connections if c.raddr}
        victim.kill()
        self._killed = victim.pid


def options(about: str, minutes: float) -> argparse.ArgumentParser:
    """Return the options of a soak, which lasts so long by default."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument(
        "--any-growth", action="store_true", help="for a run that is too short to warm up"
    )
    parser.add_argument("--bentoml", type=Path, default=BENTOML, help="the program that serves")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder for the results")
    return parser


def run_soak(
    arguments: argparse.Namespace,
    name: str,
    settings: Mapping[str, str],
    make: Callable[[Running, int, float], Soak],
) -> None:
    """Soak a server with two workers on all cores, print, write and judge.

    Args:
        arguments: those of `options`.
        name: of the file for the results.
        settings: environment variables for the server.
        make: returns a soak of a server at a port, for some seconds.
    """
    server = shipped(arguments.bentoml)
    settings = {"FASHION_DEVICE": "cpu", "FASHION_WORKERS": str(WORKERS), **settings}
    cores = f"0-{(os.cpu_count() or 1) - 1}"
    with tempfile.TemporaryDirectory() as folder:
        with running(server, Path(folder), cores, settings) as process:
            soak = make(process, server.port, arguments.minutes * 60)
            asyncio.run(soak.run())
        found = soak.found()
        log = (Path(folder) / "server.log").read_text(errors="replace")
        found["tracebacks"] = log.count("Traceback")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / name).write_text(json.dumps(found, indent=2) + "\n")
    show(found)
    faults = judge(found)
    if not arguments.any_growth:
        faults += judge_growth(found["before"], found["after"])
    if faults:
        raise SystemExit("\n".join(faults))


def judge(found: Mapping[str, Any]) -> list[str]:
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


def show(found: Mapping[str, Any]) -> None:
    """Print what was sent, and the service before and after."""
    print(f"{found['requests']:,} requests in {found['seconds']:g} s, {found['left']:,} hung up")
    for kind, statuses in sorted(found["statuses"].items()):
        counts = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
        print(f"  {kind:22} {counts}")
    print(
        f"  killed with worker {found['killed']['worker']}: {dict(found['killed']['its requests'])}"
    )
    show_resources(found["before"], found["after"])
