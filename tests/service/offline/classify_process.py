"""`python -m service classify` as a process that a test can end, and what it wrote."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from pyarrow import parquet

from tests.service.cli.program import program_environment
from tests.serving import ROOT

SECONDS = 600
IMAGES = 80_000  # in a file that takes the program long enough to be killed within


def read(out: Path) -> list[dict[str, Any]]:
    """The rows, whatever their format."""
    if out.suffix == ".jsonl":
        return [json.loads(line) for line in out.read_bytes().splitlines()]
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return rows


@contextmanager
def running(
    *arguments: str | Path, most_bytes: int = resource.RLIM_INFINITY, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    def prepare() -> None:
        # As in a terminal: tests that run in the background ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    with subprocess.Popen(
        [sys.executable, "-m", "service", "classify", *arguments],
        cwd=ROOT,
        env=program_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=prepare,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def size(out: Path) -> int:
    """Bytes in it, or parts."""
    if out.is_dir():
        return len(list(out.glob("part-*.parquet")))
    return out.stat().st_size if out.exists() else 0


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return not alive
