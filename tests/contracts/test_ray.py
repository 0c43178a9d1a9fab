"""Ray: the handler that writes Ray Data's log to the terminal.

Stood on by `service.offline.ray_engine`.
"""

import subprocess

from tests.serving import ROOT

RAY_PYTHON = ROOT / ".venv" / "ray" / "bin" / "python"

PROGRAM = """
import logging
import ray.data
handlers = logging.getLogger("ray.data").handlers
print(*sorted(str(handler.name) for handler in handlers))
"""


def test_ray_datas_log_has_a_handler_called_console() -> None:
    done = subprocess.run(
        [RAY_PYTHON, "-c", PROGRAM], capture_output=True, text=True, timeout=600, check=True
    )
    assert "console" in done.stdout.split()
