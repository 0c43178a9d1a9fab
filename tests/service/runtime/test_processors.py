"""The processors that a process may use, and the threads that a model gets of them."""

import os
from pathlib import Path

import pytest

from service.runtime import onnx_model, processors
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings
from tests.service.networks import OBLONG


@pytest.mark.parametrize(
    ("text", "most"),
    [("max 100000\n", 10**6), ("50000 100000\n", 1), ("150000 100000\n", 1), ("", 10**6)],
)
def test_a_containers_quota_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, most: int
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "cpu.max")
    assert processors.processors() == min(most, len(os.sched_getaffinity(0)))


def test_without_such_a_file_the_affinity_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "none")
    assert processors.processors() == len(os.sched_getaffinity(0))


def threads(model: OnnxModel) -> int:
    found: int = model.session.get_session_options().intra_op_num_threads
    return found


@pytest.mark.parametrize(
    ("alone", "with_two", "expected"),
    [(0.0004, 0.0001, 1), (0.010, 0.006, 2), (0.010, 0.0095, 1), (0.010, 0.020, 1)],
    ids=["short", "faster", "hardly faster", "slower"],
)
def test_a_long_run_gets_the_threads_that_make_it_faster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: float,
    with_two: float,
    expected: int,
) -> None:
    """The times are given here: measured ones depend on the machine."""
    monkeypatch.setattr(onnx_model, "processors", lambda: 4)
    monkeypatch.setattr(
        OnnxModel, "seconds", property(lambda model: alone if threads(model) == 1 else with_two)
    )
    path = OBLONG.write(tmp_path / "model.onnx")
    assert threads(load_model(ServiceSettings(device="cpu", model=path, workers=2))) == expected


def test_the_setting_decides(tmp_path: Path) -> None:
    path = OBLONG.write(tmp_path / "model.onnx")
    assert threads(load_model(ServiceSettings(device="cpu", model=path, threads=3))) == 3


def test_the_released_model_has_one_thread_and_is_short() -> None:
    model = load_model(ServiceSettings(device="cpu"))
    assert threads(model) == 1
    assert model.seconds <= onnx_model.SHORT_SECONDS


def test_a_run_holds_so_many_bytes_of_images(tmp_path: Path) -> None:
    assert load_model(ServiceSettings(device="cpu")).batch_size(1024) == 1024
    model = load_model(ServiceSettings(device="cpu", model=OBLONG.write(tmp_path / "model.onnx")))
    assert model.batch_size(1024) == 2**20 // (3 * 20 * 30)
    assert model.batch_size(7) == 7
