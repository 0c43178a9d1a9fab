"""`python -m service` on a terminal: its progress bar, Ctrl-C, and a reader that leaves."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.cli.program import SECONDS, program_environment
from tests.service.pictures import encode
from tests.serving import ROOT


def read_terminal(ours: int) -> str:
    """All that a terminal shows until its last program closes it; it holds a few pages at most."""
    content = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as file:  # its end is an error
        while piece := file.read(4096):
            content += piece
    return content.decode()


def test_a_progress_bar_is_on_a_terminal_alone_and_the_results_are_whole(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    for n in range(150):
        (tmp_path / f"{n:03}.png").write_bytes(encode(images[n]))
    ours, theirs = pty.openpty()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "service", "classify", "--csv", tmp_path],
            cwd=ROOT,
            env=program_environment({"TERM": "xterm"}),
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process,
        ThreadPoolExecutor(1) as thread,
    ):
        os.close(theirs)
        terminal = thread.submit(read_terminal, ours)
        output, _ = process.communicate(timeout=SECONDS)
        shown = terminal.result()
    assert process.returncode == 0
    assert "/150" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is shown again
    assert len(output.splitlines()) == 151
    assert b"\x1b" not in output


@pytest.fixture
def at_work(ankle_boot: NDArray[np.uint8], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program after its first result; it cannot end until more of its output is read."""
    for n in range(2000):
        (tmp_path / f"{n:04}.png").write_bytes(encode(ankle_boot))
    with subprocess.Popen(
        [sys.executable, "-m", "service", "classify", "--json", tmp_path],
        cwd=ROOT,
        env=program_environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # As in a terminal: tests that run in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["label"] == "Ankle boot"
        yield process


def test_who_reads_only_the_beginning_gets_it_quietly(at_work: subprocess.Popen[bytes]) -> None:
    assert at_work.stdout
    assert at_work.stderr
    at_work.stdout.close()
    assert at_work.stderr.read() == b""
    assert at_work.wait(SECONDS) == 128 + signal.SIGPIPE


def test_control_c_ends_it_without_a_trace(at_work: subprocess.Popen[bytes]) -> None:
    at_work.send_signal(signal.SIGINT)
    output, errors = at_work.communicate(timeout=SECONDS)
    assert (at_work.returncode, errors) == (128 + signal.SIGINT, b"")
    assert len(output.splitlines()) < 1999
