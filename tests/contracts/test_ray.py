"""Ray: the handler that writes Ray Data's log to the terminal, and the thread that runs its work.

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


def test_ray_datas_work_runs_in_a_thread_that_can_be_shut_down() -> None:
    program = (
        "import inspect, threading\n"
        "from ray.data._internal.execution import streaming_executor\n"
        "executor = streaming_executor.StreamingExecutor\n"
        "print(issubclass(executor, threading.Thread))\n"
        "print('force' in inspect.signature(executor.shutdown).parameters)\n"
    )
    done = subprocess.run(
        [RAY_PYTHON, "-c", program], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.split() == ["True", "True"]
