"""Measure the cost of the worst requests for a worker and for other requests.

    python -m benchmarks.http.worst_input [--many 60] [NAME ...]

Each request of tests/hostile goes to a server of its own with one worker: once, and then many times
at once. Printed are the memory of all the server's processes above the start, the longest that a
probe and that a good request waited meanwhile, and the statuses. Probes and good requests come from
another process, so that those who send do not hold them up.
"""

import argparse
import http.client
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Barrier, Event
from typing import Any, NamedTuple

from tests.hostile.cases import Case, picture
from tests.hostile.connection import exchange
from tests.hostile.png import GOOD
from tests.hostile.test_cost import MANY, WORST, decoders, resident, watched
from tests.hostile.test_worst import REQUESTS, requests
from tests.serving import Server, serving, wait_until

MIB = 2**20
PAUSE_SECONDS = 0.02  # between probes, and between good requests


class Cost(NamedTuple):
    """The cost of some requests."""

    mib: float  # above the start
    probe: float  # seconds, the longest
    good: float  # seconds, the longest
    refused: int  # good requests
    seconds: float  # until all are answered
    statuses: Counter[int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a request's name")
    parser.add_argument("--many", type=int, default=MANY)
    arguments = parser.parse_args()
    cases = {case.name: case for case in WORST}
    for name in REQUESTS:
        cases |= {f"{name} {case.path}": case for case in requests(name)}
    if arguments.names:
        cases = {n: c for n, c in cases.items() if any(part in n for part in arguments.names)}
    count = f"{arguments.many} at once"
    print(f"| request | one | probe, good | statuses | {count} | probe, good | statuses |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as server:
            cells = [cell for n in (1, arguments.many) for cell in cells_of(cost(server, case, n))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """Start a server whose decoders are there and that has answered."""
    with serving(folder, FASHION_DEVICE="cpu") as server:
        (worker,) = server.workers()
        wait_until(lambda: len(decoders(worker)) > 0, server)
        for _ in range(20):
            exchange(server.port, [picture("", GOOD, 200).request()])
        yield server


def cost(server: Server, case: Case, count: int) -> Cost:
    """Send a request so many times at once."""
    request = case.request()
    ours, theirs = multiprocessing.Pipe()
    others = multiprocessing.get_context("spawn").Process(target=ask, args=(server.port, theirs))
    others.start()
    ours.recv()  # it has begun
    before = resident(server)
    with watched(server) as peak, ThreadPoolExecutor(count) as threads:
        start = time.perf_counter()
        answers = list(threads.map(lambda _: exchange(server.port, [request]).status, range(count)))
        seconds = time.perf_counter() - start
    ours.send(None)
    (probe, _), (good, refused) = ours.recv()
    others.join()
    return Cost((peak.bytes - before) / MIB, probe, good, refused, seconds, Counter(answers))


def ask(port: int, link: Connection) -> None:
    """Send probes and valid requests until stopped; return the longest time of each."""
    begun, over = Barrier(3), Event()

    def longest(method: str, path: str, *content: Any) -> tuple[float, int]:
        """Return the seconds that the longest took, and how many were not answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def request() -> tuple[float, bool]:
            start = time.perf_counter()
            connection.request(method, path, *content)
            answer = connection.getresponse()
            answer.read()
            return time.perf_counter() - start, answer.status != 200

        request()  # which opens the connection
        begun.wait()
        found = [request()]
        while not over.wait(PAUSE_SECONDS):
            found.append(request())
        return max(seconds for seconds, _ in found), sum(refused for _, refused in found)

    with ThreadPoolExecutor(2) as threads:
        probes = threads.submit(longest, "GET", "/livez")
        good = threads.submit(longest, "POST", "/classify", GOOD, {"Content-Type": "image/png"})
        begun.wait()
        link.send(None)
        link.recv()
        over.set()
    link.send((probes.result(), good.result()))


def cells_of(cost: Cost) -> Iterator[str]:
    """Lay out a table's cells."""
    yield f"{cost.mib:,.0f} MiB, {cost.seconds:.1f} s"
    refused = f" ({cost.refused} refused)" if cost.refused else ""
    yield f"{cost.probe * 1000:,.0f} ms, {cost.good * 1000:,.0f} ms{refused}"
    yield ", ".join(f"{number} x {status}" for status, number in sorted(cost.statuses.items()))


if __name__ == "__main__":
    main()
