"""Training runs on CUDA, in float32 and in bfloat16."""

import json
import subprocess
import sys
from pathlib import Path


def train(out: Path, *options: str) -> float:
    command = [sys.executable, "-m", "training", "--device", "cuda", "--epochs", "2"]
    subprocess.run([*command, "--out", str(out), *options], check=True)
    return float(json.loads((out / "metrics.json").read_text())["test_accuracy"])


def test_two_epochs_learn_in_either_precision(tmp_path: Path) -> None:
    assert train(tmp_path / "float32") > 0.7
    assert train(tmp_path / "bfloat16", "--precision", "bfloat16") > 0.7
