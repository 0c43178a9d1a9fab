"""The service as `make serve` starts it, for a benchmark of this project alone."""

import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.http.peers import ROOT, Running, Server

BENTOML = ROOT / ".venv" / "serve" / "bin" / "bentoml"
WORKER = "_bentoml_impl.worker.service"


def shipped(bentoml: Path = BENTOML) -> Server:
    """Return the service on a free port; bentoml is the program of the environment that serves."""
    port = free_port()
    return Server((str(bentoml), "serve", f"--port={port}"), "/readyz", (), port)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def workers(running: Running) -> Sequence[psutil.Process]:
    """List the processes that answer."""
    children = psutil.Process(running.process.pid).children(recursive=True)
    return [child for child in children if any(WORKER in part for part in child.cmdline())]


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Add up the CPU time that processes have taken so far."""
    times = [process.cpu_times() for process in processes]
    return sum(time.user + time.system for time in times)
