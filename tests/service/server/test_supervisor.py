"""The supervisor of the workers, apart from a server."""

import subprocess
import sys

from tests.serving import ROOT


def test_nothing_is_logged_while_workers_start_slowly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.service.server.slow_start"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "started\n"
    assert "Traceback" not in done.stderr
