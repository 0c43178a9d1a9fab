"""`classify --out` that is killed, stopped or out of space: its rows are whole, and it resumes."""

import random
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.service.cli.program import run, wait_until
from tests.service.offline.classify_process import (
    IMAGES,
    SECONDS,
    gone,
    read,
    running,
    size,
)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_killed_again_and_again_it_loses_and_doubles_nothing(
    name: str, numbers: Path, mixed: list[Path], tmp_path: Path
) -> None:
    whole, out = tmp_path / f"whole_{name}", tmp_path / name
    inputs = [mixed[0], numbers, mixed[1]]
    run("classify", *inputs, "--out", whole, status=1)
    moments = random.Random(0)  # noqa: S311
    kills = 0
    for _ in range(4):
        with running(*inputs, "--out", out, "--resume", "--processes", "2") as process:
            before = size(out)
            # Parts are few: there, a moment after the start will do.
            wait_until(lambda: out.is_dir() or size(out) != before, process)  # noqa: B023
            time.sleep(moments.uniform(0, 0.15))
            workers = psutil.Process(process.pid).children(recursive=True)
            kills += process.poll() is None
            process.kill()
            process.wait()
            assert gone(workers), "a process outlived its parent"
    assert kills == 4
    with out.open("ab") if out.is_file() else (out / "part-00000.parquet.tmp").open("wb") as file:
        file.write(b'{"file":"torn')
    run("classify", *inputs, "--out", out, "--resume", status=1)
    expected, found = read(whole), read(out)
    assert [row["file"] for row in found] == [row["file"] for row in expected]
    assert [row.get("label") for row in found] == [row.get("label") for row in expected]
    assert [row.get("error") for row in found] == [row.get("error") for row in expected]
    confidences = [[row.get("confidence") or 0.0 for row in rows] for rows in (found, expected)]
    np.testing.assert_allclose(*confidences, rtol=0, atol=1e-6)
    before_bytes = {path: path.read_bytes() for path in tmp_path.glob(f"{name}*") if path.is_file()}
    output, _ = run("classify", *inputs, "--out", out, "--resume")
    assert output == f"0 rows written to {out}\n"
    assert before_bytes == {path: path.read_bytes() for path in before_bytes}


@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGINT, 128 + signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_who_stops_it_gets_no_trace_and_whole_rows(
    sent: signal.Signals, status: int, numbers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    with running(numbers, "--out", out) as process:
        wait_until(lambda: size(out), process)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (status, b"")
    assert b"Traceback" not in errors
    assert gone(workers)
    assert 0 < len(read(out)) < IMAGES


def test_a_worker_that_is_killed_is_told_in_one_line(numbers: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with running(numbers, "--out", out, "--processes", "2") as process:
        wait_until(lambda: size(out), process)
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        assert len(workers) == 2
        workers[0].send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    *_, last = errors.decode().splitlines()
    assert last.startswith("error: a worker process has ended, perhaps because memory ran")
    assert gone(workers)
    run("classify", numbers, "--out", out, "--resume")
    assert len(read(out)) == IMAGES


def test_what_a_power_loss_leaves_behind_the_lines_is_made_again(
    mixed: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ("classify", mixed[0], "--processes", "1", "--out", out)
    run(*arguments, status=1)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:145]) + lines[145][:50] + bytes(5000))
    output, _ = run(*arguments, "--resume")
    assert output == f"5 rows written to {out}\n"
    assert out.read_bytes() == whole


def test_a_disk_that_is_full_is_told_and_can_be_gone_on_with(
    mixed: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    with running(mixed[0], "--out", out, most_bytes=20_000) as process:
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert errors.decode().splitlines()[-1] == f"error: --out {out}: File too large"
    run("classify", mixed[0], "--out", out, "--resume", status=1)
    assert len(read(out)) == 150
