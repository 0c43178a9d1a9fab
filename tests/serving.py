"""A real server process for a test: started on a free port, polled until ready, stopped."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
SERVE = (sys.executable, "-m", "bentoml", "serve")
POLL_SECONDS = 0.1
EPHEMERAL = 32_768  # Linux gives away ports from here on

# Settings that a server must not take over, and what `make test` would tell a `make` below it.
OURS = ("FASHION_", "BENTOML_", "PROMETHEUS_", "MAKE", "MFLAGS")

# Last resorts, for a server that hangs: one that dies is noticed at once.
READY_SECONDS = 600.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A server that a test started."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """All that the server and its workers printed."""
        return self.log_path.read_text(errors="replace")

    def line(self, text: str) -> str:
        """The one line of the log with a text; it may be written after the answer was read."""

        def lines() -> list[str]:
            whole = self.log().rpartition("\n")[0]
            return [line for line in whole.splitlines() if text in line]

        wait_until(lines, self)
        (line,) = lines()
        return line

    def workers(self) -> list[psutil.Process]:
        """The processes that answer: the children of `bentoml serve`, in order of their ids."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        found = [child for child in children if "_bentoml_impl.worker.service" in _command(child)]
        return sorted(found, key=lambda child: child.pid)

    def stop(self) -> int:
        """Send SIGTERM to the server, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def wait_until(true: Callable[[], object], server: Server, seconds: float = 300.0) -> None:
    """Wait until a condition holds, while the server runs."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(POLL_SECONDS / 2)


def free_port() -> int:
    """A free port, for a server that takes a second to start.

    Not of those that the kernel gives away, or a connection or another test could have it by then:
    of those below, each of the processes that run tests side by side takes its own.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        # Of the system's own, since Hypothesis has `random` begin anew.
        port = random.SystemRandom().randrange(10_000 + process, EPHEMERAL, processes)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: none of our variables, and a BentoML home of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {
        **inherited,
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "FASHION_DRAIN_SECONDS": "0",  # nobody asks whether it is ready while it stops
        **settings,
    }


@contextmanager
def serving(
    folder: Path,
    *,
    command: Sequence[str] = SERVE,
    directory: Path = ROOT,
    ready_seconds: float = READY_SECONDS,
    **settings: str,
) -> Iterator[Server]:
    """Run a server until the block ends, from when all of its workers have started.

    Args:
        folder: for its log and BentoML's files; no two servers may share it.
        command: what to run; `--host` and `--port` are appended, or where it is a `make`,
            `HOST=` and `PORT=`.
        directory: where to run it.
        ready_seconds: how long it may take at most until it is ready.
        settings: environment variables, `FASHION_...` among them.
    """
    server = start(folder, command, directory, settings)
    try:
        _await_ready(server, ready_seconds)
        workers = int(settings.get("FASHION_WORKERS", "1"))  # any of which may be the ready one
        wait_until(lambda: sum(map(has_started, server.workers())) == workers, server)
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        _end(server)


def start(
    folder: Path, command: Sequence[str], directory: Path, settings: Mapping[str, str]
) -> Server:
    """Start a server and wait for nothing."""
    port = free_port()
    host, number = ("HOST=", "PORT=") if command[0] == "make" else ("--host=", "--port=")
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, f"{host}127.0.0.1", f"{number}{port}"],
            cwd=directory,
            env=environment(folder, settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that whatever it leaves behind can be ended with it
        )
    return Server(process, port, log_path)


def _await_ready(server: Server, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        status = server.process.poll()
        if status is not None:
            raise AssertionError(f"the server exited with {status}:\n{server.log()}")
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{server.url}/readyz", timeout=5)
            if answer.is_success:
                return
            raise AssertionError(f"not ready: {answer.text}\n{server.log()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"not ready in {seconds} s:\n{server.log()}")
        time.sleep(POLL_SECONDS)


def has_started(worker: psutil.Process) -> bool:
    """Whether a worker handles SIGHUP, which it does once its model is loaded and checked."""
    try:
        status = Path(f"/proc/{worker.pid}/status").read_text()
    except OSError:  # it has ended
        return False
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def _end(server: Server) -> None:
    """Leave no process behind, whatever happened."""
    workers: list[psutil.Process] = []  # which have sessions of their own
    with suppress(psutil.NoSuchProcess):
        workers = server.workers()
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    server.process.wait()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
