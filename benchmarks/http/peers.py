"""The servers that are measured: this service and its alternatives, with one worker each."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.http.load import PORT

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """A server under test: what starts it (its port follows), when it is ready, what it takes."""

    command: Sequence[str]
    ready: str
    works: Sequence[str]
    port: int = PORT


def servers(folder: Path) -> dict[str, Server]:
    """List the servers, by name; `.venv/...` are made by `make bench`."""
    peers, dev = f"{ROOT}/.venv/peers/bin", f"{ROOT}/.venv/dev/bin"
    uvicorn = (f"{peers}/uvicorn", "--no-access-log", "--log-level=warning")
    mlserver = folder / "mlserver"
    mlserver.mkdir()
    implementation = "benchmarks.servers.mlserver_model.Classifier"
    (mlserver / "model-settings.json").write_text(
        json.dumps({"name": "fashion_lenet", "implementation": implementation})
    )
    (mlserver / "settings.json").write_text(
        json.dumps({"http_port": PORT, "parallel_workers": 0, "grpc_port": 0, "metrics_port": 3998})
    )
    serve = (f"{ROOT}/.venv/serve/bin/bentoml", "serve")
    return {
        "ours": Server(
            (*serve, f"--port={PORT}"),
            "/readyz",
            ("PNG in a form", "PNG as the body", "OIP JSON, 1 image", "OIP binary, 64 images"),
        ),
        "bare uvicorn": Server(
            (*uvicorn, "benchmarks.servers.bare:app", f"--port={PORT}"),
            "/ready",
            ("PNG as the body", "raw bytes, 64 images"),
        ),
        "FastAPI by hand": Server(
            (*uvicorn, "benchmarks.servers.by_hand:app", f"--port={PORT}"),
            "/docs",
            ("PNG in a form",),
        ),
        "LitServe": Server(
            (f"{peers}/python", "-m", "benchmarks.servers.lit", str(PORT)),
            "/health",
            ("PNG in a form",),
        ),
        "BentoML's quick start": Server(
            (
                f"{dev}/bentoml",
                "serve",
                "benchmarks.servers.quick_start:QuickStart",
                f"--port={PORT}",
            ),
            "/readyz",
            ("PNG in a form",),
        ),
        "MLServer": Server(
            (f"{ROOT}/.venv/mlserver/bin/mlserver", "start", str(mlserver)),
            "/v2/health/ready",
            ("OIP JSON, 1 image",),
        ),
    }


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    seconds: float  # from its command to its first ready answer
    process: subprocess.Popen[bytes]

    def resident_mib(self) -> float:
        """Return the resident memory of the largest of its processes: the one that answers."""
        parent = psutil.Process(self.process.pid)
        processes = [parent, *parent.children(recursive=True)]
        return max(process.memory_info().rss for process in processes) / 2**20


@contextmanager
def running(
    server: Server, folder: Path, cores: str = "0", settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a server on core 0, or those named, until the block ends.

    Args:
        server: what to run.
        folder: for its log and its files.
        cores: as taskset wants them.
        settings: environment variables for it.
    """
    environment = {
        **os.environ,
        **(settings or {}),
        "PYTHONPATH": str(ROOT),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    log_path = folder / "server.log"
    start = time.perf_counter()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            ("taskset", "--cpu-list", cores, *server.command),  # noqa: S607
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_ready(f"http://127.0.0.1:{server.port}{server.ready}", process, log_path)
        yield Running(time.perf_counter() - start, process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return
        time.sleep(0.02)
    raise SystemExit(f"{url} did not become ready:\n{log.read_text(errors='replace')}")
