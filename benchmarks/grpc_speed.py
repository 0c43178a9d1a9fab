"""How fast gRPC is, against a bare grpc.aio server and against our own HTTP.

    python -m benchmarks.grpc_speed [--rounds 5] [--seconds 3]

Each server has one worker on core 0 and the same model; the clients, in a closed loop, have the
others. A client in Python takes as long for a call as the server, so the ratio that counts is that
of the server's processor time for a call, which a busy client does not change. All servers run side
by side and take their turn in each round. It needs `wrk`, for HTTP.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.grpc_load import load_grpc
from benchmarks.http.load import BATCH, PORT, load, works
from benchmarks.http.peers import ROOT, Server, running

GRPC_PORT, BARE_PORT = PORT - 10, PORT - 11
HTTP_WORK = "OIP binary, 64 images"
OURS_ONE, BARE_ONE = "ours, 1 image, 16 at once", "bare grpc.aio, 1 image, 16 at once"
OURS_64, HTTP_64 = "ours, 64 images, 8 at once", "our HTTP, 64 images, 8 at once"
RATIOS = ((OURS_ONE, BARE_ONE), (OURS_64, HTTP_64))


def main() -> None:
    """Measure in rounds, and print each figure and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    psutil.Process().cpu_affinity(list(range(1, psutil.cpu_count() or 1)) or [0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serve = (f"{ROOT}/.venv/serve/bin/bentoml", "serve", f"--port={PORT}")
        settings = {"FASHION_GRPC_PORT": str(GRPC_PORT), "FASHION_DEVICE": "cpu"}
        ours = Server(serve, "/readyz", ())
        with running(ours, folder, settings=settings) as process, _bare() as bare:
            worker = _worker(process.process.pid)
            found = measure(arguments.rounds, arguments.seconds, worker, bare, folder)
    for mine, other in RATIOS:
        pairs = list(zip(found[mine], found[other], strict=True))
        cost = statistics.median(b[1] / a[1] for a, b in pairs)
        speed = statistics.median(a[0] / b[0] for a, b in pairs)
        print(f"{mine} against {other}: {cost:.2f} by processor time, {speed:.2f} by calls/s")


def measure(
    rounds: int, seconds: float, worker: psutil.Process, bare: psutil.Process, folder: Path
) -> dict[str, list[tuple[float, float]]]:
    """Return calls a second and the server's processor seconds for a call, of each round."""
    found = defaultdict(list)
    turns: dict[str, tuple[psutil.Process, Callable[[], int]]] = {
        OURS_ONE: (worker, lambda: load_grpc(GRPC_PORT, 1, 16, seconds).requests),
        BARE_ONE: (bare, lambda: load_grpc(BARE_PORT, 1, 16, seconds).requests),
        OURS_64: (worker, lambda: load_grpc(GRPC_PORT, BATCH, 8, seconds).requests),
        HTTP_64: (worker, lambda: load(works()[HTTP_WORK], round(seconds), folder).requests),
    }
    for number in range(rounds + 1):
        for name, (process, turn) in turns.items():
            before, start = _cpu_seconds(process), time.perf_counter()
            calls = turn()
            taken = time.perf_counter() - start
            cost = (_cpu_seconds(process) - before) / calls
            if number:  # the first is to warm up
                found[name].append((calls / taken, cost))
                print(
                    f"round {number}  {name:36} {calls / taken:8,.0f} calls/s  "
                    f"{cost * 1e6:6.0f} us of the server's processor time for a call",
                    flush=True,
                )
    return found


@contextmanager
def _bare() -> Iterator[psutil.Process]:
    """Run the bare server on core 0 until the block ends."""
    python = f"{ROOT}/.venv/dev/bin/python"
    command = ("taskset", "--cpu-list", "0", python, "-m", "benchmarks.servers.bare_grpc")
    process = subprocess.Popen((*command, str(BARE_PORT)), cwd=ROOT, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _worker(pid: int) -> psutil.Process:
    """Return the process that answers: the child with the most memory."""
    children = psutil.Process(pid).children(recursive=True)
    return max(children, key=lambda child: child.memory_info().rss)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
