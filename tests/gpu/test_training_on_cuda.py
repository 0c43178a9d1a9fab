"""Training on CUDA: it learns, two runs give the same weights, and so does a resumed one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.gpu.conftest import DEVICE
from training.data.dataset import Split
from training.data.fashion_mnist import load_split
from training.execution.devices import set_up
from training.learner import Learner, Precision
from training.recipes import RECIPES

TEST_SET = Path("tests/data")
IMAGES = 2048


@pytest.fixture(scope="module")
def split() -> Split:
    """Some of the test images, used only as data."""
    loaded = load_split("test", TEST_SET)
    images, labels = loaded.images[:IMAGES].to(DEVICE), loaded.labels[:IMAGES].to(DEVICE)
    return Split(images, labels, loaded.digests)


def learner(split: Split, precision: Precision, compile_step: bool) -> Learner:
    set_up(threads=None)
    return Learner(
        RECIPES["release"], split, 10, 0, epochs=3, precision=precision, compile_step=compile_step
    )


def weights(one: Learner) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in one.finished_network().state_dict().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("compile_step", [False, True], ids=["eager", "compiled"])
def test_recipe_release_learns_repeats_and_resumes_to_the_bit(
    split: Split, precision: Precision, compile_step: bool, tmp_path: Path
) -> None:
    first = learner(split, precision, compile_step)
    epochs = [first.train_epoch() for _ in range(2)]
    assert epochs[1].loss < epochs[0].loss
    torch.save(first.state_dict(), tmp_path / "resume.pt")  # as the run's folder keeps it
    first.train_epoch()
    expected = weights(first)
    assert all(tensor.isfinite().all() for tensor in expected.values())

    again = learner(split, precision, compile_step)
    for _ in range(3):
        again.train_epoch()
    resumed = learner(split, precision, compile_step)
    state = torch.load(tmp_path / "resume.pt", map_location="cpu", weights_only=True)
    resumed.load_state_dict(state)
    resumed.train_epoch()
    for other in (again, resumed):
        found = weights(other)
        assert found.keys() == expected.keys()
        assert [name for name, tensor in expected.items() if not tensor.equal(found[name])] == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_program_learns(precision: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "--device", DEVICE, "--epochs", "2"]
    options = ["--precision", precision, "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.7
