"""The training program as a user starts it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(
    *arguments: object, environment: Mapping[str, str] = ENVIRONMENT
) -> subprocess.Popen[str]:
    """Start `python -m training` in the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, environment: Mapping[str, str] = ENVIRONMENT) -> tuple[int, str, str]:
    """Run it to its end; return exit status, standard output, standard error."""
    process = start(*arguments, environment=environment)
    output, errors = process.communicate()
    return process.returncode, output, errors
