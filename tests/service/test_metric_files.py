"""The place on the disk that a worker's metrics have before they are counted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.metric_files import BYTES, FOLDER, KINDS, reserve


def test_each_file_has_its_place_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    reserve()
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"{kind}_{os.getpid()}.db" for kind in KINDS]
    for path in files:
        assert path.stat().st_blocks * 512 >= path.stat().st_size == BYTES
        assert not any(path.read_bytes())


def test_without_a_place_they_stay_in_memory_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "nowhere"))
    with caplog.at_level("WARNING", "bentoml.fashion_lenet"):
        reserve()
    assert FOLDER not in os.environ
    assert "Each worker counts for itself in /metrics: [Errno 2]" in caplog.text


def test_what_dead_workers_served_is_forgotten_and_what_they_counted_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    kept = [tmp_path / f"counter_{dead.pid}.db", tmp_path / f"gauge_livemax_{os.getppid()}.db"]
    for path in (*kept, tmp_path / f"gauge_livemax_{dead.pid}.db"):
        path.write_bytes(b"")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    reserve()
    mine = {tmp_path / f"{kind}_{os.getpid()}.db" for kind in KINDS}
    assert set(tmp_path.iterdir()) == {*mine, *kept}


def test_without_a_folder_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    reserve()
    assert FOLDER not in os.environ
