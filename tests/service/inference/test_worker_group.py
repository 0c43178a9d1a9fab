"""What the workers of a server agree on; tests of the repository's routes have real workers."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import ModelError
from service.inference import worker_group
from service.inference.worker_group import FOLDER, Action, WorkerGroup, create

Steps = list[tuple[Action, str]]


def group(steps: Steps, fails: Action | None = None) -> WorkerGroup:
    async def take(action: Action, name: str) -> None:
        steps.append((action, name))
        if action == fails:
            raise ModelError("no memory")

    return WorkerGroup(take)


def test_a_worker_that_starts_serves_what_the_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "")  # so that it is unset again
    create(tmp_path / "models", ["a", "b"])
    assert os.environ[FOLDER] == str(tmp_path / "models")
    assert group([]).models == {"a": True, "b": True}


def test_a_process_without_others_takes_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    steps: Steps = []
    alone = group(steps)
    asyncio.run(alone.load("a"))
    asyncio.run(alone.unload("a"))
    assert steps == [("prepare", "a"), ("serve", "a"), ("unload", "a")]
    assert alone.models == {}


def test_what_cannot_be_prepared_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    steps: Steps = []
    with pytest.raises(ModelError, match="no memory"):
        asyncio.run(group(steps, fails="prepare").load("a"))
    assert steps == [("prepare", "a"), ("discard", "a")]


def test_reports_of_workers_that_have_ended_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "")
    create(tmp_path / "models", ["a"])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    one = group([])
    for process, number in ((ended.pid, 0), (os.getpid(), 7)):
        path = tmp_path / "models" / f"{process}.report.json"
        path.write_text(json.dumps([number, "no memory"]))
    assert one._reports() == [(7, "no memory")]


def test_a_worker_that_starts_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "")
    create(tmp_path / "models", ["a", "b"])
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda *_: signals.append(1))
    monkeypatch.setattr(worker_group, "MOST_SECONDS", 0.1)
    starting = group([])
    assert starting.models == {"a": True, "b": True}
    with pytest.raises(ModelError, match="a worker has not answered"):
        asyncio.run(starting.unload("a"))  # as if another worker did; this one would miss the step
    assert signals
