"""Whole runs: their files, their end, and resuming."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training import program
from training import run as run_module
from training.__main__ import main
from training.console.interruption import Interrupted
from training.files.checkpoint import load_checkpoint
from training.learner import Glimpse, Learner
from training.recipes import RECIPES

Train = Callable[..., int]


@pytest.fixture
def train(small: Path) -> Train:
    """Run the program in this process on the small data set."""
    data = ["--data", str(small), "--labels", str(small / "labels.txt")]

    def call(*arguments: object) -> int:
        return main([*map(str, arguments), *data, "--threads", "1"])

    return call


def read_log(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = (
        load_checkpoint(folder / "checkpoint.safetensors").model.state_dict()
        for folder in (one, other)
    )
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_run_writes_all_it_promises(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "run"
    assert train("--recipe", "seed", "--epochs", 2, "--seed", 7, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {
        *("checkpoint.safetensors", "metrics.json", "curves.png", "log.jsonl")
    }
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["recipe"], metrics["seed"], metrics["epochs"]) == ("seed", 7, 2)
    assert 0 < metrics["test_accuracy"] <= 1
    assert metrics["images_per_second"] > 0
    assert set(metrics["versions"]) == {"python", "torch", "numpy", "safetensors"}
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2]
    assert {
        *("train_loss", "train_accuracy", "test_loss", "test_accuracy", "images_per_second")
    } <= set(metrics["history"][0])
    assert [line["event"] for line in read_log(out)] == ["start", "epoch", "epoch", "end"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "lenet_bn, recipe seed, seed 7, on cpu: 1,280 training images, 500 test"
    )
    assert lines[1].startswith("epoch 1/2  loss ")
    assert lines[2].endswith("0:00 left")
    assert lines[3].startswith("test accuracy 0.")


def test_the_checkpoint_says_where_it_comes_from(train: Train, tmp_path: Path) -> None:
    train("--epochs", 1, "--out", tmp_path)
    checkpoint = load_checkpoint(tmp_path / "checkpoint.safetensors")
    metadata = checkpoint.metadata
    assert (metadata["recipe"], metadata["seed"], metadata["epochs"]) == ("seed", "0", "1")
    assert json.loads(metadata["labels"]) == [f"class {i}" for i in range(10)]
    assert len(json.loads(metadata["dataset"])) == 4
    assert json.loads(metadata["versions"])["torch"] == torch.__version__.split("+")[0]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert float(metadata["test_accuracy"]) == pytest.approx(metrics["test_accuracy"], abs=1e-4)


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_the_same_seed_gives_the_same_weights(
    train: Train, tmp_path: Path, teacher: Path, recipe: str
) -> None:
    taught = ("--teacher", teacher) if RECIPES[recipe].temperature else ()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train("--recipe", recipe, *taught, "--epochs", 1, "--seed", seed, "--out", tmp_path / name)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_validation_leaves_the_test_set_alone(
    train: Train, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = Path.read_bytes

    def read(path: Path) -> bytes:
        opened.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert train("--epochs", 1, "--validation", "--out", tmp_path) == 0
    assert not [name for name in opened if name.startswith("t10k")]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "validation_accuracy" in metrics
    assert "validation_accuracy" in metrics["history"][0]
    assert "test_accuracy" not in json.dumps(metrics)
    assert "test_accuracy" not in load_checkpoint(tmp_path / "checkpoint.safetensors").metadata


def test_ctrl_c_leaves_a_usable_checkpoint_and_resume_ends_as_if_nothing_had_been(
    train: Train, tmp_path: Path, small: Path
) -> None:
    arguments = ("--recipe", "release", "--epochs", 12, "--threads", 1)
    data = ("--data", small, "--labels", small / "labels.txt")
    process = program.start(*arguments, *data, "--out", tmp_path / "broken")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch  2/12"):
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "stopping after this step" in errors
    assert "Traceback" not in errors
    assert "--resume continues" in output

    checkpoint = load_checkpoint(tmp_path / "broken" / "checkpoint.safetensors")
    done = int(checkpoint.metadata["epochs"])
    assert 2 <= done < 12
    assert "test_accuracy" not in checkpoint.metadata
    metrics = json.loads((tmp_path / "broken" / "metrics.json").read_text())
    assert metrics["interrupted"] == "SIGINT"
    assert len(metrics["history"]) == done

    # What the run was started with need not be said again.
    assert main(["--resume", "--out", str(tmp_path / "broken")]) == 0
    assert train(*arguments, "--out", tmp_path / "whole") == 0
    assert same_weights(tmp_path / "broken", tmp_path / "whole")
    broken, whole = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("broken", "whole")
    )
    assert broken["test_accuracy"] == whole["test_accuracy"]
    for ours, theirs in zip(broken["history"], whole["history"], strict=True):
        assert ours["train_loss"] == theirs["train_loss"]
    events = [line["event"] for line in read_log(tmp_path / "broken")]
    assert events.count("start") == 2
    assert events.count("epoch") == 12
    assert events[-1] == "end"


@pytest.fixture
def unfinished(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of three epochs that was killed after the first."""
    original = Learner.train_epoch

    def once(learner: Learner, on_glimpse: Callable[[Glimpse], None]) -> object:
        if learner.epoch == 1:
            raise RuntimeError("power failure")
        return original(learner, on_glimpse)

    out = tmp_path / "unfinished"
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", once)
        with pytest.raises(RuntimeError, match="power failure"):
            train("--epochs", 3, "--out", out)
    return out


def test_even_a_crash_can_be_resumed(train: Train, unfinished: Path, tmp_path: Path) -> None:
    assert train("--resume", "--out", unfinished) == 0
    assert train("--epochs", 3, "--out", tmp_path / "whole") == 0
    assert same_weights(unfinished, tmp_path / "whole")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--epochs", 4), "its epochs was 3 and is now 4"),
        (("--seed", 1), "its seed was 0 and is now 1"),
        (("--recipe", "release"), "its recipe was 'seed' and is now 'release'"),
        (("--precision", "bfloat16"), "its precision was 'float32' and is now 'bfloat16'"),
        (("--validation",), "its validation was False and is now True"),
    ],
)
def test_resuming_as_another_run_is_refused(
    train: Train,
    unfinished: Path,
    changed: tuple[object, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train("--resume", "--out", unfinished, *changed) == 1
    assert message in capsys.readouterr().err


def test_an_unfinished_run_is_not_overwritten(
    train: Train, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--out", unfinished) == 1
    assert "holds an unfinished run: add --resume" in capsys.readouterr().err


def test_a_damaged_resume_file_is_named(
    train: Train, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = unfinished / "resume.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert train("--resume", "--out", unfinished) == 1
    assert "resume.pt is damaged" in capsys.readouterr().err


def test_nothing_to_resume_is_told(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--resume", "--out", tmp_path) == 1
    assert "holds no unfinished run" in capsys.readouterr().err


def test_a_finished_run_is_not_lost_but_by_overwrite(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs", 1, "--seed", 1, "--out", tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train("--epochs", 1, "--seed", 2, "--out", tmp_path) == 1
    assert "holds another run (" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # Nor is it lost to a run that cannot begin.
    assert main(["--out", str(tmp_path), "--overwrite", "--data", str(tmp_path)]) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train("--epochs", 1, "--seed", 2, "--out", tmp_path, "--overwrite") == 0
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").metadata["seed"] == "2"
    assert [line["event"] for line in read_log(tmp_path)] == ["start", "epoch", "end"]


def test_a_run_without_a_whole_epoch_can_be_resumed(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_learner: Learner, _on_glimpse: Callable[[Glimpse], None]) -> object:
        raise Interrupted(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", stop)
        assert train("--epochs", 1, "--out", tmp_path / "broken") == 130
    assert train("--resume", "--out", tmp_path / "broken") == 0
    assert train("--epochs", 1, "--out", tmp_path / "whole") == 0
    assert same_weights(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [
        {"settings": None},
        {"settings": '{"unheard_of": 1}'},
        {"settings": "[]"},
        {"identity": "{"},
        {"learner": {}},
        {"history": [{"number": 1}]},
        {"history": 3},
    ],
    ids=str,
)
def test_a_resume_file_of_another_version_is_told(
    train: Train,
    unfinished: Path,
    change: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = torch.load(unfinished / "resume.pt", weights_only=True)
    torch.save(state | change, unfinished / "resume.pt")
    capsys.readouterr()
    assert train("--resume", "--out", unfinished) == 1
    errors = capsys.readouterr().err
    assert "resume.pt is damaged, or another version's (" in errors
    assert errors.count("\n") == 1


def flip(folder: Path) -> float:
    metadata = load_checkpoint(folder / "checkpoint.safetensors").metadata
    return float(json.loads(metadata["augmentation"])["flip"])


def test_mirror_images_are_told_recorded_and_can_be_left_out(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--recipe", "release", "--epochs", 1)
    assert train(*arguments, "--out", tmp_path / "with") == 0
    assert (
        "each epoch changes images at random: mirrored (50% of them), shifted by up to 1 pixel, "
        "covered by a square of 8 x 8 (50% of them); where a mirror image can be of another class, "
        "as with digits and letters, train with --no-flip\n"
    ) in capsys.readouterr().out
    assert train(*arguments, "--no-flip", "--out", tmp_path / "without") == 0
    printed = capsys.readouterr().out
    assert "each epoch changes images at random: shifted by" in printed
    assert "--no-flip" not in printed
    assert (flip(tmp_path / "with"), flip(tmp_path / "without")) == (0.5, 0.0)
    metrics = json.loads((tmp_path / "without" / "metrics.json").read_text())
    assert metrics["recipe_values"]["augmentation"]["flip"] == 0.0


def test_a_resumed_run_keeps_to_what_it_left_out(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(_learner: Learner, _on_glimpse: Callable[[Glimpse], None]) -> object:
        raise Interrupted(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", stop)
        arguments = ("--recipe", "release", "--epochs", 1, "--no-flip")
        assert train(*arguments, "--out", tmp_path) == 130
    assert train("--resume", "--out", tmp_path) == 0
    assert flip(tmp_path) == 0.0
    assert "mirrored" not in capsys.readouterr().out


def test_the_end_says_why_its_accuracy_is_not_the_last_epochs(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "the epochs' accuracies are those with moving statistics; this one is with"
    for recipe, told in (("seed", 1), ("release", 0)):
        assert train("--recipe", recipe, "--epochs", 1, "--out", tmp_path / recipe) == 0
        assert capsys.readouterr().out.count(reason) == told


def test_divergence_is_an_error_of_one_line(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = run_module.Learner

    def poisoned(*arguments: object, **named: object) -> Learner:
        learner = original(*arguments, **named)  # type: ignore[arg-type]
        with torch.no_grad():
            learner.model[0].weight[0] = float("inf")
        return learner

    monkeypatch.setattr(run_module, "Learner", poisoned)
    assert train("--epochs", 1, "--out", tmp_path) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: the loss became nan in epoch 1, step 1 of 5, at learning rate")
    assert errors.count("\n") == 1
