"""A server in a terminal: it ends when that is closed, unless it was started with `nohup`."""

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.serving import ROOT, environment, free_port

SECONDS = 600
SAME = "The model is not changed"


class Session:
    """An interactive shell on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log_path = folder / "server.log"
        self.command = (
            f"{sys.executable} -m bentoml serve --host 127.0.0.1 --port {self.port}"
            f" > {self.log_path} 2>&1"
        )
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            settings = environment(folder, {"FASHION_DEVICE": "cpu", "PS1": "$ "})
            os.execve("/bin/bash", ["bash", "--norc", "-i"], settings)  # noqa: S606

    def type(self, line: str) -> None:
        os.write(self._terminal, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def wait_for(self, text: str) -> None:
        """Wait for a line of the log, and take what the shell shows meanwhile."""
        deadline = time.monotonic() + SECONDS
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            if self._terminal in select.select([self._terminal], [], [], 0.1)[0]:
                with suppress(OSError):
                    os.read(self._terminal, 4096)

    def server(self) -> psutil.Process:
        """The server's parent process: it listens, and so do its children."""
        return next(
            process
            for process in psutil.Process(self._pid).children(recursive=True)
            if any(listener.laddr.port == self.port for listener in process.net_connections("tcp"))
        )


@contextmanager
def session(folder: Path, line: str) -> Iterator[tuple[Session, psutil.Process]]:
    """Type a line with {} for the server's command, and wait until it serves."""
    shell = Session(folder)
    shell.type(line.format(shell.command))
    shell.wait_for("initialized")
    server = shell.server()
    family = [server, *server.children()]
    try:
        yield shell, server
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def makefile(tmp_path: Path) -> Path:
    path = tmp_path / "Makefile"
    path.write_text('serve:\n\t@sh -c "$$COMMAND"\n')
    return path


@pytest.mark.parametrize("line", ["{}", "{} &", "COMMAND='{}' make --file MAKEFILE"])
def test_a_server_ends_with_its_terminal(line: str, makefile: Path, tmp_path: Path) -> None:
    with session(tmp_path, line.replace("MAKEFILE", str(makefile))) as (shell, server):
        shell.close()
        server.wait(SECONDS)
    assert "The terminal is closed: the server stops." in shell.log()
    assert "Traceback" not in shell.log()


def test_a_signal_in_a_terminal_reloads(tmp_path: Path) -> None:
    with session(tmp_path, "{}") as (shell, server):
        server.send_signal(signal.SIGHUP)
        shell.wait_for(SAME)
        assert server.is_running()
        shell.close()
        server.wait(SECONDS)


def test_what_nohup_started_outlives_its_terminal_and_reloads(tmp_path: Path) -> None:
    with session(tmp_path, "nohup {} &") as (shell, server):
        shell.close()
        deadline = time.monotonic() + SECONDS
        while SAME not in shell.log():  # the shell's own signal, as it ended
            assert time.monotonic() < deadline, shell.log()
            time.sleep(0.1)
        assert server.is_running()
        server.terminate()
        server.wait(SECONDS)
