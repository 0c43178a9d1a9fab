"""circus: an arbiter, its watchers and their processes, alive.

Stood on by `service.server.supervisor`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("arbiter.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state of an arbiter whose process is killed once, and that it starts it again."""
    out: Path = tmp_path_factory.mktemp("circus") / "rounds"
    done = subprocess.run(
        [sys.executable, PROGRAM, out],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_the_hooks_run_before_and_after_each_start_and_change_its_environment(
    found: dict[str, Any],
) -> None:
    assert found["steps"] == ["before", "after"] * 2
    assert found["starts"] == "01"


def test_a_process_that_is_killed_is_replaced_while_respawn_is_set(found: dict[str, Any]) -> None:
    assert (found["processes"], found["numprocesses"]) == (2, 1)
    assert found["respawn"] is True
    assert found["its watchers"] is True


def test_how_often_it_looks_can_be_told(found: dict[str, Any]) -> None:
    assert found["check_delay"] == 0.1


def test_it_says_whether_it_is_stopping_or_busy(found: dict[str, Any]) -> None:
    assert found["stopping"] == [False, True]
    assert found["busy"] is None
