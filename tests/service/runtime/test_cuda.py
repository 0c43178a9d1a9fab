"""The errors if CUDA cannot run a model, and that its sessions are strict.

The drivers here answer their version and nothing else, so ONNX Runtime really fails to start CUDA.
"""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from service.errors import DeviceError, ModelError
from service.runtime import cuda, onnx_model
from service.runtime.cuda import CUDA, CUDA_OPTIONS, cuda_session, missing_part, placement
from service.runtime.gpu_network import GpuNetwork
from service.runtime.onnx_model import load_model, open_model
from service.runtime.onnx_session import CPU, cpu_session
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.service.models import with_wrong_golden_samples
from tests.service.runtime.drivers import driver, driver_without_device, no_gpu
from tests.serving import ROOT

MODEL = RELEASED_MODEL.read_bytes()
NEEDED = int(ort.cuda_version.partition(".")[0])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that installs a driver of a version."""

    def install(version: int | None, status: int = 0) -> None:
        monkeypatch.setattr(cuda, "DRIVER", str(driver(tmp_path, version, status)))

    return install


def refused(**settings: Any) -> str:
    with pytest.raises(DeviceError) as caught:
        load_model(ServiceSettings(device="cuda", **settings))
    (line,) = str(caught.value).splitlines()
    return line


@no_gpu
def test_auto_without_a_driver_warns_and_takes_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = load_model(ServiceSettings(device="auto"))
    assert (model.device, model.execution_provider) == ("cpu", CPU)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Serving on the CPU, because there is no NVIDIA driver")


@no_gpu
def test_cuda_without_a_driver_is_refused_with_the_remedy() -> None:
    assert refused() == (
        f"FASHION_DEVICE is cuda, but there is no NVIDIA driver ({cuda.DRIVER}): install it; a "
        "container needs --gpus all with Docker, --device nvidia.com/gpu=all with Podman; with "
        "auto the CPU serves"
    )


def test_a_build_without_cuda_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    assert "this build of ONNX Runtime has no CUDA execution provider: install" in refused()


@pytest.mark.parametrize(
    ("version", "shown"), [(12020, "12.2"), (12080, "12.8"), (11080, "11.8"), (12090, "12.9")]
)
def test_an_old_driver_is_told_which_it_needs(installed: Any, version: int, shown: str) -> None:
    installed(version)
    assert refused() == (
        f"FASHION_DEVICE is cuda, but the NVIDIA driver is for CUDA {shown}, ONNX Runtime "
        f"{ort.__version__} needs CUDA {NEEDED}: install driver 580 or newer; with auto the CPU "
        "serves"
    )


@pytest.mark.parametrize("version", [1000 * NEEDED, 1000 * NEEDED + 20, 1000 * NEEDED + 1000])
def test_a_driver_of_the_same_or_a_later_major_version_will_do(
    installed: Any, version: int
) -> None:
    installed(version)
    assert missing_part() is None


@pytest.mark.parametrize(
    ("version", "status", "reason"),
    [(None, 0, "has no cuDriverGetVersion"), (0, 34, "answers with error 34")],
)
def test_a_driver_that_does_not_tell_its_version_is_refused(
    installed: Any, version: int | None, status: int, reason: str
) -> None:
    installed(version, status)
    message = f"the NVIDIA driver {reason} ({cuda.DRIVER}): install driver 580 or newer"
    assert missing_part() == message


@no_gpu
@pytest.mark.parametrize("build", [driver, driver_without_device])
def test_cuda_that_does_not_start_is_refused_and_auto_serves_on_the_cpu(
    build: Any, tmp_path: Path
) -> None:
    """ONNX Runtime lists CUDA also if it cannot start it, and then only logs that."""
    build(tmp_path, 1000 * NEEDED)

    def info(device: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "service", "info", "--device", device],
            env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    missing = r"a library is missing \(.+\): install requirements/cuda.lock, the extra cuda"
    why = rf"({missing}|ONNX Runtime cannot open the model on CUDA: CUDA failure \d+: [^;]+)"
    done = info("cuda")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(f"error: FASHION_DEVICE is cuda, but {why}; with auto the CPU serves", last)
    done = info("auto")
    assert done.returncode == 0
    assert re.search(r"^device +cpu", done.stdout, re.MULTILINE)
    assert re.search(f"Serving on the CPU, because {why}", done.stderr)


@no_gpu
def test_a_session_on_cuda_is_strict(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(1000 * NEEDED)
    opened = []
    real = ort.InferenceSession

    def watched(model: bytes, options: ort.SessionOptions, **given: Any) -> ort.InferenceSession:
        entry = "session.disable_cpu_ep_fallback"
        opened.append((options.get_session_config_entry(entry), given))
        return real(model, options, **given)

    monkeypatch.setattr(ort, "InferenceSession", watched)
    monkeypatch.setattr(cuda, "placement", lambda _: {})
    with pytest.raises(DeviceError):
        cuda_session(MODEL)
    assert opened == [("1", {"providers": [(CUDA, CUDA_OPTIONS)], "enable_fallback": 0})]
    assert CUDA_OPTIONS["use_tf32"] == "0"


def test_tf32_is_overridden_before_cuda_s_libraries_are_loaded(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(1000 * NEEDED)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    seen = []
    monkeypatch.setattr(
        ort, "preload_dlls", lambda: seen.append(os.environ["NVIDIA_TF32_OVERRIDE"])
    )
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: seen.append("session"))
    cuda_session(MODEL)
    assert seen == ["0", "session"]


def test_nodes_that_cuda_leaves_to_the_cpu_are_named(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(1000 * NEEDED)
    nodes = [f"Det layer{i}/det" for i in range(7)]
    monkeypatch.setattr(cuda, "placement", lambda _: {CUDA: ["Conv conv_0"], CPU: nodes})
    monkeypatch.setattr(cuda, "load_libraries", lambda: None)
    assert (
        "CUDA cannot compute all of the model, and leaves to the CPU: Det layer0/det, "
        "Det layer1/det, Det layer2/det, Det layer3/det, Det layer4/det and 2 more; with auto"
    ) in refused()


@no_gpu
def test_the_placement_of_every_node_can_be_listed() -> None:
    nodes = placement(MODEL)[CPU]
    assert {"Conv conv_0", "Gemm gemm_11", "Softmax softmax"} <= set(nodes)


class Failing:
    """A network on a GPU whose architecture ONNX Runtime has no code for."""

    sizes = (4, 16)

    def infer(self, *_: object) -> list[Any]:
        raise RuntimeError("CUDA failure 209: no kernel image is available for execution")


def no_code(_: bytes, __: int) -> Any:
    return Failing()


def inexact(content: bytes, _: int) -> GpuNetwork:
    """Return a network whose logits are off by 0.005, as with TF32."""
    model = onnx.load_from_string(content)
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "exact"
    model.graph.initializer.append(helper.make_tensor("error", onnx.TensorProto.FLOAT, [], [5e-3]))
    model.graph.node.insert(
        list(model.graph.node).index(last) + 1,
        helper.make_node("Add", ["exact", "error"], ["logits"]),
    )
    return GpuNetwork({4: cpu_session(model.SerializeToString())})


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (no_code, f"the model cannot be run on {CUDA}: CUDA failure 209: no kernel image"),
        (inexact, f"golden samples come out wrong on {CUDA}, in a batch of 4: a logit is off by"),
    ],
)
def test_a_gpu_that_opens_and_computes_nothing_or_wrong_is_not_served_from(
    network: Any, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnx_model.GpuNetwork, "open", network)
    assert reason in refused()
    model = load_model(ServiceSettings(device="auto"))
    assert model.device == "cpu"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Serving on the CPU, because ")
    assert reason in record.getMessage()


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_a_wrong_model_is_no_fault_of_the_device(device: Any, tmp_path: Path) -> None:
    content = with_wrong_golden_samples(tmp_path / "model.onnx").read_bytes()
    for wrong in (content, b"no model"):
        with pytest.raises(ModelError) as caught:
            open_model(wrong, device, 16)
        assert not isinstance(caught.value, DeviceError)
