"""Teachers by their checkpoints: what is recorded of them, and which are refused."""

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from training.__main__ import main
from training.console.interruption import Interrupted
from training.files.checkpoint import load_checkpoint, save_checkpoint
from training.learner import Glimpse, Learner, TrainedEpoch
from training.networks.registry import NETWORKS

LABELS = [f"class {i}" for i in range(10)]


@pytest.fixture
def distil(small: Path) -> Callable[..., int]:
    """Run recipe `distilled` in this process on the small data set."""
    data = ["--data", str(small), "--labels", str(small / "labels.txt"), "--threads", "1"]

    def call(*arguments: object) -> int:
        return main(["--recipe", "distilled", "--epochs", "2", *map(str, arguments), *data])

    return call


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_records_its_teachers_and_says_what_they_cost(
    distil: Callable[..., int], teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    save_checkpoint(
        other, NETWORKS["lenet_bn"](10), {"labels": json.dumps(LABELS), "network": "lenet_bn"}
    )
    out = tmp_path / "run"
    assert distil("--teacher", teacher, other, "--out", out) == 0
    recorded = [
        {"network": "lenet_bn", "test_accuracy": "0.9289", "sha256": digest(teacher)},
        {"network": "lenet_bn", "test_accuracy": None, "sha256": digest(other)},
    ]
    assert json.loads((out / "metrics.json").read_text())["teachers"] == recorded
    metadata = load_checkpoint(out / "checkpoint.safetensors").metadata
    assert json.loads(metadata["teachers"]) == recorded
    assert (
        "its teachers first answer for 18 views of each image: lenet_bn (test accuracy 0.9289), "
        "lenet_bn (test accuracy not recorded)\nthe answers take 0.9 MB\nepoch 1/2"
    ) in capsys.readouterr().out


@pytest.fixture
def stopped(
    distil: Callable[..., int], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run that was interrupted after its first epoch."""
    original = Learner.train_epoch

    def once(learner: Learner, on_glimpse: Callable[[Glimpse], None]) -> TrainedEpoch:
        if learner.epoch == 1:
            raise Interrupted(signal.SIGINT)
        return original(learner, on_glimpse)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", once)
        assert distil("--teacher", teacher, "--out", out) == 130
    return out


def test_a_resumed_run_ends_bit_identical(
    distil: Callable[..., int], stopped: Path, teacher: Path, tmp_path: Path
) -> None:
    moved = teacher.rename(tmp_path / "moved.safetensors")
    assert main(["--resume", "--out", str(stopped), "--teacher", str(moved)]) == 0
    assert distil("--teacher", moved, "--out", tmp_path / "whole") == 0
    ours, theirs = (
        load_checkpoint(folder / "checkpoint.safetensors").model.state_dict()
        for folder in (stopped, tmp_path / "whole")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_another_teacher_is_refused_on_resumption(
    stopped: Path, teacher: Path, trained: nn.Sequential, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(teacher)
    with torch.no_grad():
        trained[0].bias[0] += 1
    save_checkpoint(teacher, trained, {"labels": json.dumps(LABELS)})
    assert main(["--resume", "--out", str(stopped)]) == 1
    errors = capsys.readouterr().err
    assert f"cannot resume {stopped}: its teachers was [" in errors
    assert f"'sha256': '{before}'" in errors
    assert f"'sha256': '{digest(teacher)}'" in errors
    assert errors.count("\n") == 1


def test_a_missing_file_is_told(
    distil: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.safetensors"
    assert distil("--teacher", missing, "--out", tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        f"error: {missing} is not a file: name a checkpoint.safetensors\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_network_for_images_of_another_size_is_no_teacher(
    distil: Callable[..., int],
    trained: nn.Sequential,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At 32 x 32 LeNet's first linear layer has 400 inputs."""
    trained[9] = nn.Linear(400, 120)
    save_checkpoint(tmp_path / "large", trained, {"labels": json.dumps(LABELS)})
    assert distil("--teacher", tmp_path / "large", "--out", tmp_path / "run") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'large'} is not lenet_bn: 9.weight has shape (120, 400), not "
        "(120, 256)\n"
    )


@pytest.mark.parametrize(
    ("num_classes", "labels", "message"),
    [
        (3, ["a", "b", "c"], "has the 3 classes a, b, c: expected the data set's 10, class 0, "),
        (10, LABELS[::-1], "has the 10 classes class 9, class 8, "),
        (10, LABELS[:9], "names 9 classes, its network has 10"),
        (10, None, "does not name its classes: train again"),
    ],
    ids=["fewer", "in another order", "not all named", "unnamed"],
)
def test_other_classes_are_refused(
    distil: Callable[..., int],
    tmp_path: Path,
    num_classes: int,
    labels: list[str] | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, NETWORKS["lenet_bn"](num_classes), {"labels": json.dumps(labels)})
    assert distil("--teacher", path, "--out", tmp_path / "run") == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_validation_images_are_new_to_the_teachers(
    distil: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "teacher.safetensors"
    metadata = {"labels": json.dumps(LABELS)}
    halves = ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"]
    for files, status in ((halves[:1], 0), (halves, 1)):
        dataset = json.dumps(dict.fromkeys(files, "a digest"))
        save_checkpoint(path, NETWORKS["lenet_bn"](10), metadata | {"dataset": dataset})
        out = tmp_path / str(status)
        assert distil("--teacher", path, "--validation", "--out", out) == status
    assert capsys.readouterr().err == (
        f"error: the teacher {path} was trained on the images that --validation holds out: "
        "expected one that was itself trained with --validation\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "recipe 'distilled' learns from a teacher: name its checkpoint with --teacher"),
        (["--recipe", "release", "--teacher", "TEACHER"], "'release' learns from labels: leave"),
    ],
    ids=["none", "for labels"],
)
def test_teachers_and_the_recipe_must_agree(
    small: Path,
    teacher: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(teacher) if argument == "TEACHER" else argument for argument in arguments]
    data = ["--data", str(small), "--labels", str(small / "labels.txt")]
    assert main(["--recipe", "distilled", *given, *data, "--out", str(tmp_path / "run")]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
