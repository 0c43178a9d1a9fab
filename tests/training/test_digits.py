"""Training on any 28 x 28 grey images: scikit-learn's digits, written as IDX."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.training.idx_files import write_split
from training.__main__ import main
from training.files.checkpoint import load_checkpoint

NAMES = ("zero", "one", "two", "three", "four", "five", "six")
TRAIN = 1000


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Digits 0 to 6: seven classes, to find any place that assumes ten."""
    from sklearn.datasets import load_digits  # takes two seconds to import

    bunch = load_digits(n_class=len(NAMES))
    pixels = torch.from_numpy(bunch.images).unsqueeze(1)  # (N, 1, 8, 8), 0 to 16
    large = functional.interpolate(pixels, scale_factor=3)  # (N, 1, 24, 24)
    images = (functional.pad(large, (2, 2, 2, 2)) * 255 / 16).to(torch.uint8)  # (N, 1, 28, 28)
    labels = torch.from_numpy(bunch.target)
    write_split(tmp_path, "train", images[:TRAIN], labels[:TRAIN])
    write_split(tmp_path, "test", images[TRAIN:], labels[TRAIN:])
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    return tmp_path


def test_digits_are_learned_and_their_names_travel(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    data = ["--data", str(digits), "--labels", str(digits / "labels.txt"), "--threads", "1"]
    assert main(["--recipe", "seed", "--epochs", "12", "--out", str(out), *data]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9
    checkpoint = load_checkpoint(out / "checkpoint.safetensors")
    assert json.loads(checkpoint.metadata["labels"]) == list(NAMES)
    assert checkpoint.model(torch.zeros(1, 1, 28, 28)).shape == (1, len(NAMES))
    assert main(["report", str(out)]) == 0


def test_more_classes_than_names_are_refused(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (digits / "labels.txt").write_text("\n".join(NAMES[:5]))
    data = ["--data", str(digits), "--labels", str(digits / "labels.txt")]
    assert main(["--out", str(tmp_path / "run"), *data]) == 1
    assert "has class 6, but only 5 classes are named" in capsys.readouterr().err


def test_without_names_it_must_be_fashion_mnist(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "run"), "--data", str(digits)]) == 1
    assert "name your own classes with --labels" in capsys.readouterr().err
