"""Ctrl-C ends a program that is still loading, without output."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT


def loaded(process: subprocess.Popen[str], library: str) -> bool:
    """Whether a process has mapped a library; it must still run."""
    assert process.poll() is None, process.communicate()
    return library in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.parametrize("library", ["_pydantic_core", "libtorch_cpu"])
@pytest.mark.parametrize("program", ["training", "export"])
def test_ctrl_c_while_loading_ends_the_program(program: str, library: str, tmp_path: Path) -> None:
    checkpoint = ROOT / "models" / "fashion_lenet" / "checkpoint.safetensors"
    out = tmp_path / "out"
    arguments = {
        "training": ["--epochs", "1", "--out", out],
        "export": [checkpoint, "--no-input-statistics", "--out", out / "model.onnx"],
    }
    data = ["--data", ROOT / "tests" / "data"]
    # The tests may run where Ctrl-C is ignored, as in the background of a shell script.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", program, *arguments[program], *data],  # noqa: S607
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not loaded(process, library):
        pass
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "")
    assert process.returncode == -signal.SIGINT  # a shell says 130
    assert not out.exists()
