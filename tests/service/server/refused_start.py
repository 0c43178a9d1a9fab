"""A start of `bentoml serve` that fails."""

import subprocess
from pathlib import Path

from tests.serving import ROOT, SERVE, environment

SECONDS = 600


def refused(
    folder: Path, *arguments: str, command: tuple[str, ...] = SERVE, **settings: str
) -> str:
    """Run a server whose start fails, and return its one line."""
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment(folder, {"FASHION_DEVICE": "cpu", **settings}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr
    assert "[ERROR]" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert not list((folder / "bentoml").glob("fashion_lenet_metrics/*/"))
    return line
