"""The programs that read the files of deploy/, if they are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT

DEPLOY = ROOT / "deploy"

# `make test` unpacks Debian's package there, which so starts no server of its own.
PLACES = os.pathsep.join((os.environ["PATH"], str(ROOT / ".venv" / "prometheus" / "usr" / "bin")))


def program(name: str) -> str:
    """The path of a program; skips the test where there is none."""
    path = shutil.which(name, path=PLACES)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


def run(*command: str | Path) -> str:
    """What a program prints when it succeeds, on either stream."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
