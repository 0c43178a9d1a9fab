"""Threads spin on an idle machine, sleep beside others, and do as the user says."""

import os
from pathlib import Path

import pytest

from training import openmp
from training.openmp import busy_cores, choose_waiting


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in openmp.SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("busy", "chosen"), [(0.0, {}), (0.2, {}), (1.0, {"OMP_WAIT_POLICY": "PASSIVE"})]
)
def test_others_at_work_decide(
    monkeypatch: pytest.MonkeyPatch, busy: float, chosen: dict[str, str]
) -> None:
    monkeypatch.setattr(openmp, "busy_cores", lambda: busy)
    assert choose_waiting() == chosen


@pytest.mark.parametrize("name", openmp.SETTINGS)
def test_the_users_choice_stands(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(openmp, "busy_cores", lambda: 8.0)
    monkeypatch.setenv(name, "ACTIVE")
    assert choose_waiting() == {}


def test_busy_cores_are_read_off_the_kernels_counters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stat = tmp_path / "stat"
    ticks = os.sysconf("SC_CLK_TCK")
    clock = iter((0.0, 0.5))
    monkeypatch.setattr(openmp, "PROC_STAT", stat)
    monkeypatch.setattr(openmp.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(
        openmp.time,
        "sleep",
        # Three quarters of a second of work and a quarter of rest in half a second of two cores.
        lambda _: stat.write_text(f"cpu {ticks} {0} {ticks * 3 // 4} {ticks * 5 // 4} 0 0 0 0 0 0"),
    )
    stat.write_text(f"cpu {ticks} 0 0 {ticks} 0 0 0 0 0 0\ncpu0 1 2 3")
    assert busy_cores() == pytest.approx(1.5)


def test_without_the_kernels_counters_spinning_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openmp, "PROC_STAT", tmp_path / "absent")
    assert choose_waiting() == {}
