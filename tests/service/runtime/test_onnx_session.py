"""Which device a session really runs on, and what is said where it is not the one hoped for."""

import ctypes
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from service.errors import DeviceError, ModelError
from service.runtime import onnx_session
from service.runtime.onnx_session import (
    CPU,
    CUDA,
    DRIVER,
    bucket_sizes,
    create_session,
    run_with_io_binding,
)
from service.settings import RELEASED_MODEL
from tests.serving import ROOT

MODEL = RELEASED_MODEL.read_bytes()


def has_gpu() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


no_gpu = pytest.mark.skipif(has_gpu(), reason="this machine has an NVIDIA driver")


def test_cpu_is_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    assert create_session(MODEL, "cpu").get_providers() == [CPU]
    assert caplog.records == []


@no_gpu
def test_auto_without_a_driver_warns_and_takes_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert create_session(MODEL, "auto").get_providers() == [CPU]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Serving on the CPU, because ")


@no_gpu
def test_cuda_without_a_driver_is_refused_with_the_remedy() -> None:
    with pytest.raises(DeviceError) as caught:
        create_session(MODEL, "cuda")
    message = str(caught.value)
    assert message.startswith("FASHION_DEVICE is cuda, but ")
    assert message.endswith(
        ": install NVIDIA's driver and the cuda extra (in a container, --gpus all), or set "
        "FASHION_DEVICE to cpu or auto"
    )


def test_a_build_without_cuda_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    with pytest.raises(DeviceError, match="this build of ONNX Runtime has no CUDA execution"):
        create_session(MODEL, "cuda")


def test_a_session_that_fell_back_by_itself_is_not_taken_for_cuda(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime lists CUDA where it cannot start it, and then says so in its log alone."""
    real, asked = onnx_session._open, []

    def without_cuda(model: bytes, providers: list[Any]) -> ort.InferenceSession:
        asked.append(providers)
        return real(model, [CPU])

    monkeypatch.setattr(onnx_session, "missing_part", lambda: None)
    monkeypatch.setattr(onnx_session, "_open", without_cuda)
    with pytest.raises(DeviceError, match="could not start its CUDA execution provider"):
        create_session(MODEL, "cuda")
    assert create_session(MODEL, "auto").get_providers() == [CPU]
    assert "could not start its CUDA execution provider" in caplog.text
    name, options = asked[0][0]
    assert name == CUDA
    assert options["use_tf32"] == "0"


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_no_model_is_refused_on_every_device(device: Any) -> None:
    with pytest.raises(ModelError, match="the model is not an ONNX model that can be run here"):
        create_session(b"no model", device)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 100])
def test_bound_inputs_and_outputs_give_what_a_plain_run_gives(
    count: int, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    """As on CUDA, padding and all, with the CPU as the device."""
    batch = images[:count, None]  # (N, 1, 28, 28)
    for outputs in (["logits"], ["probabilities", "logits"]):
        found = run_with_io_binding(session, "image", batch, outputs)
        for array, expected in zip(found, session.run(outputs, {"image": batch}), strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 4]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 16])],
)
def test_batches_are_padded_to_few_sizes(most: int, sizes: list[int]) -> None:
    assert bucket_sizes(most) == sizes


@pytest.mark.parametrize("module", ["service.runtime.onnx_model", "export.onnx_file.outputs"])
def test_onnxruntime_keeps_no_statistics_of_its_user(module: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", f"import {module}, onnxruntime"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
