"""`python -m service` as a process."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serving import ROOT, environment

SAMPLES = "service/ui/samples"
PASSED_OVER = "skipped: 1 (not a picture by its name: 1)"  # the samples' licence
SECONDS = 600


def run(
    *arguments: str | Path,
    given: bytes = b"",
    folder: Path = ROOT,
    status: int = 0,
    **settings: str,
) -> tuple[str, str]:
    """Run the program; return what it wrote to standard output and to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=folder,
        env=program_environment(settings),
        input=given,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    output, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, output + errors
    assert "Traceback" not in errors
    return output, errors


def program_environment(settings: dict[str, str]) -> dict[str, str]:
    return environment(
        ROOT, {"PYTHONPATH": str(ROOT), "FASHION_DEVICE": "cpu", "COLUMNS": "80", **settings}
    )


def wait_until(true: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Wait until a condition holds while a program runs."""
    deadline = time.monotonic() + 2 * SECONDS
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
