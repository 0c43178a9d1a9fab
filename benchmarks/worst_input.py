"""What the worst requests cost a worker and those who ask at the same time.

    python -m benchmarks.worst_input [--many 60] [NAME ...]

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
from threading import Event, Thread
from typing import NamedTuple

from tests.hostile.cases import Case
from tests.hostile.connection import exchange
from tests.hostile.png import GOOD
from tests.hostile.test_cost import MANY, WORST, decoders, resident
from tests.hostile.test_worst import REQUESTS, requests
from tests.serving import Server, serving, wait_until

MIB = 2**20
PAUSE_SECONDS = 0.02  # between probes, and between good requests
SAMPLE_SECONDS = 0.02


class Cost(NamedTuple):
    """What some requests cost."""

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
            exchange(server.port, [good_request()])
        yield server


def good_request() -> bytes:
    """A small picture."""
    return Case(
        "", 200, "", GOOD, path="/classify", headers=[("Content-Type", "image/png")]
    ).request()


def cost(server: Server, case: Case, count: int) -> Cost:
    """Send a request so many times at once."""
    request = case.request()
    ours, theirs = multiprocessing.Pipe()
    others = multiprocessing.get_context("spawn").Process(target=ask, args=(server.port, theirs))
    others.start()
    ours.recv()  # it has begun
    before, over = resident(server), Event()
    peak = before

    def watch() -> None:
        nonlocal peak
        while not over.wait(SAMPLE_SECONDS):
            peak = max(peak, resident(server))

    thread = Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(lambda _: exchange(server.port, [request]).status, range(count)))
    seconds = time.perf_counter() - start
    over.set()
    thread.join()
    ours.send(None)
    probe, good, refused = ours.recv()
    others.join()
    return Cost((peak - before) / MIB, probe, good, refused, seconds, Counter(answers))


def ask(port: int, link: Connection) -> None:
    """Probe, and send good requests, until told to stop; say how long the longest took."""
    over = Event()
    longest = {"probe": 0.0, "good": 0.0}
    refused = 0

    def probe() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not over.wait(PAUSE_SECONDS):
            start = time.perf_counter()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            longest["probe"] = max(longest["probe"], time.perf_counter() - start)

    def good() -> None:
        nonlocal refused
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not over.wait(PAUSE_SECONDS):
            start = time.perf_counter()
            connection.request("POST", "/classify", GOOD, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            answer.read()
            refused += answer.status != 200
            longest["good"] = max(longest["good"], time.perf_counter() - start)

    threads = [Thread(target=probe), Thread(target=good)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    longest.update(probe=0.0, good=0.0)
    link.send(None)
    link.recv()
    over.set()
    for thread in threads:
        thread.join()
    link.send((longest["probe"], longest["good"], refused))


def cells_of(cost: Cost) -> Iterator[str]:
    """Lay out a table's cells."""
    yield f"{cost.mib:,.0f} MiB, {cost.seconds:.1f} s"
    refused = f" ({cost.refused} refused)" if cost.refused else ""
    yield f"{cost.probe * 1000:,.0f} ms, {cost.good * 1000:,.0f} ms{refused}"
    yield ", ".join(f"{number} x {status}" for status, number in sorted(cost.statuses.items()))


if __name__ == "__main__":
    main()
