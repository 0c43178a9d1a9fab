"""Run a benchmark briefly, to test that it works: its figures mean nothing."""

import os
import subprocess
import sys
from pathlib import Path

from tests.serving import ROOT

BENTOML = Path(sys.executable).with_name("bentoml")


def rehearse(module: str, *arguments: str) -> str:
    """Run a benchmark as `make` does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
