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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.grpc_load import load_grpc
from benchmarks.http.load import BATCH, Load, binary, load
from benchmarks.http.peers import ROOT, running
from benchmarks.http.shipped import cpu_seconds, free_port, shipped, workers

OURS_ONE, BARE_ONE = "ours, 1 image, 16 at once", "bare grpc.aio, 1 image, 16 at once"
OURS_64, HTTP_64 = "ours, 64 images, 8 at once", "our HTTP, 64 images, 8 at once"
RATIOS = ((OURS_ONE, BARE_ONE), (OURS_64, HTTP_64))

# The processes that answer, and what calls them for some seconds.
Turn = tuple[Sequence[psutil.Process], Callable[[], Load]]


def main() -> None:
    """Measure in rounds, and print each figure and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    psutil.Process().cpu_affinity(list(range(1, psutil.cpu_count() or 1)) or [0])
    seconds = arguments.seconds
    server, port, bare_port = shipped(), free_port(), free_port()
    settings = {"FASHION_GRPC_PORT": str(port), "FASHION_DEVICE": "cpu"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        http = partial(load, binary(BATCH, 8), round(seconds), folder, port=server.port)
        with running(server, folder, settings=settings) as process, _bare(bare_port) as bare:
            ours = workers(process)
            turns: dict[str, Turn] = {
                OURS_ONE: (ours, partial(load_grpc, port, 1, 16, seconds)),
                BARE_ONE: (bare, partial(load_grpc, bare_port, 1, 16, seconds)),
                OURS_64: (ours, partial(load_grpc, port, BATCH, 8, seconds)),
                HTTP_64: (ours, http),
            }
            found = measure(turns, arguments.rounds)
    for mine, other in RATIOS:
        pairs = list(zip(found[mine], found[other], strict=True))
        cost = statistics.median(b[1] / a[1] for a, b in pairs)
        speed = statistics.median(a[0] / b[0] for a, b in pairs)
        print(f"{mine} against {other}: {cost:.2f} by processor time, {speed:.2f} by calls/s")


def measure(turns: Mapping[str, Turn], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return calls a second and the server's processor seconds for a call, of each round."""
    found = defaultdict(list)
    for number in range(rounds + 1):
        for name, (processes, ask) in turns.items():
            before, start = cpu_seconds(processes), time.perf_counter()
            calls = ask().requests
            taken = time.perf_counter() - start
            cost = (cpu_seconds(processes) - before) / calls
            if number:  # the first is to warm up
                found[name].append((calls / taken, cost))
                print(
                    f"round {number}  {name:36} {calls / taken:8,.0f} calls/s  "
                    f"{cost * 1e6:6.0f} us of the server's processor time for a call",
                    flush=True,
                )
    return found


@contextmanager
def _bare(port: int) -> Iterator[Sequence[psutil.Process]]:
    """Run the bare server on core 0 until the block ends."""
    python = f"{ROOT}/.venv/dev/bin/python"
    command = ("taskset", "--cpu-list", "0", python, "-m", "benchmarks.servers.bare_grpc")
    process = subprocess.Popen((*command, str(port)), cwd=ROOT, start_new_session=True)
    try:
        yield [psutil.Process(process.pid)]
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
