"""The service on a GPU, asked over HTTP and over gRPC."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.grpc_load import load_grpc
from benchmarks.http.load import Load, binary, cores_from, load
from benchmarks.http.peers import running
from benchmarks.http.shipped import free_port, shipped

# By images of a request, by requests at once.
Loads = dict[str, dict[str, Load]]
Measure = Callable[[int, int], Load]


class Asked(NamedTuple):
    """What is measured: the sizes of a request, and how many are sent at once."""

    batches: Sequence[int]
    connections: Sequence[int]
    seconds: float


def ask_service(bentoml: Path, device: str, asked: Asked) -> dict[str, Loads]:
    """Measure the service by requests of each size, so many at once, over each protocol.

    More than one at once let batches form: images a second grow, where the GPU waited. HTTP's
    client is wrk. gRPC's is in Python, and may be what limits small requests.
    """
    server = shipped(bentoml)
    grpc_port = free_port()
    settings = {"FASHION_DEVICE": device, "FASHION_GRPC_PORT": str(grpc_port)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        over_http = partial(_over_http, asked.seconds, folder, server.port)
        over_grpc = partial(_over_grpc, asked.seconds, grpc_port)
        protocols: dict[str, Measure] = {"HTTP": over_http, "gRPC": over_grpc}
        if shutil.which("wrk") is None:
            print("Nothing over HTTP: wrk is not installed")
            del protocols["HTTP"]
        with running(server, folder, cores_from(0), settings):
            return {name: _measure(name, one, asked) for name, one in protocols.items()}


def _over_http(seconds: float, folder: Path, port: int, size: int, at_once: int) -> Load:
    return load(*(binary(size, at_once), max(1, round(seconds)), folder), port=port)


def _over_grpc(seconds: float, port: int, size: int, at_once: int) -> Load:
    return load_grpc(port, size, at_once, seconds)


def _measure(protocol: str, measure: Measure, asked: Asked) -> Loads:
    rows: Loads = {str(size): {} for size in asked.batches}
    for size in asked.batches:
        for at_once in asked.connections:
            found = rows[str(size)][str(at_once)] = measure(size, at_once)
            print(
                f"{protocol}, {size:5} images a request, {at_once:3} at once  "
                f"{found.requests_per_second * size:12,.0f} images/s  "
                f"p50 {found.p50_ms:7.2f} ms  p99 {found.p99_ms:7.2f} ms  "
                f"failures {found.failures}",
                flush=True,
            )
    return rows
