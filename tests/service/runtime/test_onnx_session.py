"""Sessions on the CPU: what they refuse, and what ONNX Runtime leaves behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest

from service.errors import ModelError
from service.runtime.onnx_session import CPU, cpu_session
from service.settings import RELEASED_MODEL
from tests.serving import ROOT


def test_cpu_is_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    assert cpu_session(RELEASED_MODEL.read_bytes()).get_providers() == [CPU]
    assert caplog.records == []


def test_no_model_is_refused() -> None:
    with pytest.raises(ModelError) as found:
        cpu_session(b"no model")
    assert str(found.value).startswith("the model is not an ONNX model that can be run here: ")
    assert "/proc" not in str(found.value)


def test_weights_in_another_file_are_refused_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    proto = onnx.load(RELEASED_MODEL)
    onnx.save(proto, path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ModelError, match="the model's weights are in files of their own"):
        cpu_session(path.read_bytes())


@pytest.mark.skipif(sys.platform != "linux", reason="a file in memory is Linux's")
def test_onnxruntime_reads_a_file_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes it would parse 94 MB with Python's lock held, while no request is answered."""
    content, sources, sizes = RELEASED_MODEL.read_bytes(), [], []
    open_session = ort.InferenceSession

    def record(source: str, *arguments: Any, **more: Any) -> ort.InferenceSession:
        sources.append(source)
        sizes.append(Path(source).stat().st_size)
        return open_session(source, *arguments, **more)

    monkeypatch.setattr(ort, "InferenceSession", record)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    cpu_session(content)
    with pytest.raises(ModelError):
        cpu_session(b"no model")
    assert sizes == [len(content), len(b"no model")]
    assert all(source.startswith("/proc/self/fd/") for source in sources)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.skipif(sys.platform != "linux", reason="a file in memory is Linux's")
def test_a_limit_on_the_size_of_files_forbids_no_model() -> None:
    code = f"""
import resource
from pathlib import Path
from service.runtime.onnx_session import cpu_session
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
print(cpu_session(Path({str(RELEASED_MODEL)!r}).read_bytes()).get_inputs()[0].name)
"""
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "image\n"), done.stderr


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
