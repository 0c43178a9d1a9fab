"""The disk space that a worker's metrics get before they are counted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.telemetry.multiprocess import (
    KINDS,
    LOCK,
    MULTIPROC_DIR_VARIABLE,
    make_folder,
    preallocate,
)
from tests.serving import ROOT, free_port, serving, wait_until


def test_each_file_has_its_place_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MULTIPROC_DIR_VARIABLE, str(tmp_path))
    preallocate()
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"{kind}_{os.getpid()}.db" for kind in KINDS]
    for path, size in zip(files, KINDS.values(), strict=True):
        assert path.stat().st_blocks * 512 >= path.stat().st_size == size
        assert not any(path.read_bytes())


def test_without_a_place_they_stay_in_memory_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MULTIPROC_DIR_VARIABLE, str(tmp_path / "nowhere"))
    with caplog.at_level("WARNING", "bentoml.fashion_lenet"):
        preallocate()
    assert MULTIPROC_DIR_VARIABLE not in os.environ
    assert "Each worker counts for itself in /metrics: [Errno 2]" in caplog.text


def test_what_dead_workers_served_is_forgotten_and_what_they_counted_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    kept = [tmp_path / f"counter_{dead.pid}.db", tmp_path / f"gauge_livemax_{os.getppid()}.db"]
    for path in (*kept, tmp_path / f"gauge_livemax_{dead.pid}.db"):
        path.write_bytes(b"")
    monkeypatch.setenv(MULTIPROC_DIR_VARIABLE, str(tmp_path))
    preallocate()
    mine = {tmp_path / f"{kind}_{os.getpid()}.db" for kind in KINDS}
    assert set(tmp_path.iterdir()) == {*mine, *kept}


def test_without_a_folder_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIPROC_DIR_VARIABLE, raising=False)
    preallocate()
    assert MULTIPROC_DIR_VARIABLE not in os.environ


def run(code: str, home: Path) -> str:
    """Run a program that makes a folder in `home`, which prints it."""
    start = f"from service.telemetry.multiprocess import *; f = make_folder(Path({str(home)!r}))"
    return subprocess.run(
        [sys.executable, "-c", f"{start}; print(f, flush=True); {code}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip


def test_a_folder_is_removed_with_its_process_or_at_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    mine = make_folder(home)  # of a process that lives
    assert not Path(run("", home)).exists()
    killed = Path(run("os.kill(os.getpid(), 9)", home))
    assert killed.is_dir()
    (killed / "counter_1.db").write_bytes(b"")
    (home / "without a lock").mkdir()
    assert run("print(os.path.exists(f))", home).endswith("True")
    assert mine.is_dir()
    assert {path.name for path in home.iterdir()} == {LOCK, mine.parent.name}


def test_where_nothing_can_be_written_it_is_a_temporary_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_bytes(b"")  # no folder
    folder = Path(run("assert f.is_dir()", home))
    assert folder.is_absolute()
    assert not folder.is_relative_to(home)
    assert not folder.parent.exists()


def counted(url: str) -> int:
    found = re.search(
        r'^fashion_requests_total{route="/livez",status="200"} (\d+)', httpx.get(url).text, re.M
    )
    return int(found[1]) if found else 0


def test_servers_of_one_user_have_metrics_of_their_own(tmp_path: Path) -> None:
    home = {"BENTOML_HOME": str(tmp_path / "home"), "FASHION_DEVICE": "cpu"}
    folders = tmp_path / "home" / "fashion_lenet_metrics"
    port = str(free_port())
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with (
        serving(tmp_path / "first", **home) as first,
        serving(tmp_path / "second", **home, FASHION_METRICS_PORT=port) as second,
    ):
        for server, number in ((first, 3), (second, 5)):
            for _ in range(number):
                httpx.get(f"{server.url}/livez")
        wait_until(lambda: counted(f"http://127.0.0.1:{port}/metrics") == 5, second)
        assert counted(f"{first.url}/metrics") == 3
        assert len(list(folders.glob("*/"))) == 2
        first.process.kill()
        first.process.wait()
        assert second.stop() == 0
        assert len(list(folders.glob("*/"))) == 1
    with serving(tmp_path / "second", **home) as third:
        assert counted(f"{third.url}/metrics") == 0
        assert len(list(folders.glob("*/"))) == 1
    assert not list(folders.glob("*/"))
