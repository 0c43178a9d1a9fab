"""How the cost of a request grows: with images, with connections, with workers; and the start.

    python -m benchmarks.http.growth [--rounds 3] [--seconds 3]

The service is what `make serve` starts, on the CPU, with a core for each worker. wrk sends from the
cores that are left; where there are none, from all, and takes from two workers what it needs. So
two workers are compared with one in two ways: `measured`, with that, and `by_cpu`, from the CPU
time that a request takes of the workers: what they would give if the load came from elsewhere.
`workers_cores` and `wrk_cores` say who had how much of the machine. Medians of the rounds are
printed and written to runs/growth.json and runs/growth.png. Run it on a machine that does nothing
else. It needs `wrk`.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.http.growth_chart import draw
from benchmarks.http.load import Load, Work, binary, cores_from, load, works
from benchmarks.http.peers import ROOT, Running, running
from benchmarks.http.shipped import BENTOML, cpu_seconds, shipped, workers
from benchmarks.stopwatch import counts, pace
from service.runtime.onnx_model import load_model
from service.runtime.signature import PROBABILITIES
from service.settings import ServiceSettings

IMAGES = (1, 4, 16, 64, 256, 1024)
CONNECTIONS = (1, 4, 16, 64, 256)
NETWORK_SECONDS = 0.3
FORM, MANY = "PNG in a form", "OIP binary, 64 images"

Row = dict[str, float]
Table = dict[str, Row]


def main() -> None:
    """Measure, print and write."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **medians([one_round(arguments) for _ in range(arguments.rounds)]),
        **medians([one_start(arguments) for _ in range(arguments.starts)]),
    }
    found["two workers, of one"] = two_workers(found["workers"])
    for title, rows in found.items():
        if isinstance(rows, dict):
            show(title, rows)
    (arguments.out / "growth.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(found, arguments.out / "growth.png")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="for each figure")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--images", type=counts, default=IMAGES)
    parser.add_argument("--connections", type=counts, default=CONNECTIONS)
    parser.add_argument("--bentoml", type=Path, default=BENTOML, help="the program that serves")
    parser.add_argument("--out", type=Path, default=ROOT / "runs", help="folder for the results")
    return parser.parse_args()


class Service:
    """The service while it runs, under load."""

    def __init__(self, running: Running, folder: Path, port: int, cores: str) -> None:
        """Know its workers, and send to its port from so many cores."""
        self.ready_seconds = running.seconds
        self.workers: Sequence[psutil.Process] = workers(running)
        self._send = partial(load, folder=folder, port=port, cores=cores)

    def load(self, work: Work, seconds: int) -> tuple[Load, float]:
        """Send requests; return what wrk measured, and the workers' CPU time a request, in us."""
        before = cpu_seconds(self.workers)
        found = self._send(work, seconds)
        return found, (cpu_seconds(self.workers) - before) / found.requests * 1e6


@contextmanager
def serving(arguments: argparse.Namespace, count: int) -> Iterator[Service]:
    """Run the service with so many workers, on as many cores, until the block ends."""
    server = shipped(arguments.bentoml)
    cores = f"0-{min(count, os.cpu_count() or 1) - 1}"
    settings = {"FASHION_DEVICE": "cpu", "FASHION_WORKERS": str(count)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(server, folder, cores, settings) as process:
            yield Service(process, folder, server.port, cores_from(count))


def one_round(arguments: argparse.Namespace) -> dict[str, Table]:
    """Measure one worker by images and by connections, and beside two."""
    with serving(arguments, 1) as service:
        service.load(works()[FORM], 1)  # to warm up
        images = by_images(service, arguments)
        connections = by_connections(service, arguments)
        alone = by_work(service, arguments)
    with serving(arguments, 2) as service:
        service.load(works()[FORM], 1)
        both = by_work(service, arguments)
    pairs = {"1": alone, "2": both}.items()
    found = {f"{count}, {name}": row for count, rows in pairs for name, row in rows.items()}
    return {"images a request": images, "connections": connections, "workers": found}


def by_images(service: Service, arguments: argparse.Namespace) -> Table:
    """Measure requests of few and many images, one at a time: median microseconds an image."""
    model = load_model(ServiceSettings(device="cpu"))
    rows = {}
    for count in arguments.images:
        images = np.zeros((count, 1, 28, 28), np.uint8)
        network = pace(partial(model.infer, images, [PROBABILITIES]), count, NETWORK_SECONDS)
        found, cpu = service.load(binary(count, connections=1), arguments.seconds)
        rows[str(count)] = {
            "network_us": network.p50_us / count,
            "http_us": found.p50_ms * 1e3 / count,
            "http_cpu_us": cpu / count,
            "failures": found.failures,
        }
    return rows


def by_connections(service: Service, arguments: argparse.Namespace) -> Table:
    """Measure pictures in forms from few and many connections at a time."""
    form = works()[FORM]
    rows = {}
    for count in arguments.connections:
        work = Work(form.path, form.content_type, form.body, count)
        rows[str(count)] = row_of(*service.load(work, arguments.seconds))
    return rows


def by_work(service: Service, arguments: argparse.Namespace) -> Table:
    """Measure a light request, and one for which wrk has little to do."""
    return {name: row_of(*service.load(works()[name], arguments.seconds)) for name in (FORM, MANY)}


def row_of(found: Load, cpu_us: float) -> Row:
    """Return the figures that are kept of a load, with the workers' CPU time per request."""
    return {
        "requests_per_second": found.requests_per_second,
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "failures": found.failures,
        "cpu_us": cpu_us,
        "workers_cores": cpu_us * found.requests_per_second / 1e6,
        "wrk_cores": found.cpu_seconds * found.requests_per_second / found.requests,
    }


def one_start(arguments: argparse.Namespace) -> dict[str, Table]:
    """Measure a start, from the command to the first ready answer, and a worker's memory."""
    with serving(arguments, 1) as service:
        (worker,) = service.workers
        idle = memory(worker)
        service.load(works()[FORM], arguments.seconds)
        ready = {"seconds": service.ready_seconds}
        return {"start": {"ready": ready, "idle": idle, "after load": memory(worker)}}


def memory(process: psutil.Process) -> Row:
    """Return a process's memory in MiB: RSS, PSS and USS."""
    info: Any = process.memory_full_info()
    return {f"{kind}_mib": getattr(info, kind) / 2**20 for kind in ("rss", "pss", "uss")}


def medians(found: Sequence[Mapping[str, Table]]) -> dict[str, Table]:
    """Take the median of each figure."""
    return {
        title: {
            key: {name: statistics.median(one[title][key][name] for one in found) for name in row}
            for key, row in rows.items()
        }
        for title, rows in found[0].items()
    }


def two_workers(rows: Table) -> Table:
    """Compare two workers with one: requests a second, measured and from CPU time per request."""
    return {
        name: {
            "measured": rows[f"2, {name}"]["requests_per_second"]
            / rows[f"1, {name}"]["requests_per_second"],
            "by_cpu": 2 * rows[f"1, {name}"]["cpu_us"] / rows[f"2, {name}"]["cpu_us"],
        }
        for name in (FORM, MANY)
    }


def show(title: str, rows: Table) -> None:
    """Print a table."""
    print(f"\n{title}")
    for key, row in rows.items():
        print(f"  {key:25}", "  ".join(f"{name} {value:,.4g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
