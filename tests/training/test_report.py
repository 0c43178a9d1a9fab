"""The pictures of a run, and the figures in them."""

import codecs
import json
import shutil
from pathlib import Path

import pytest
import torch
from matplotlib.container import BarContainer
from PIL import Image

from training.__main__ import main
from training.data.dataset import Split
from training.figures.batch_norm_histograms import histograms_figure
from training.figures.confusion_matrix import confusion_figure, count_confusions
from training.figures.curves import curves_figure
from training.figures.mistakes import most_confident_mistakes
from training.figures.per_class import as_table, class_results, per_class_figure
from training.files.checkpoint import load_checkpoint, save_checkpoint
from training.networks.lenet import lenet_bn
from training.networks.resnet import resnet_bn

PICTURES = ("batch_norm", "confusion_matrix", "curves", "mistakes", "per_class")
TRUE = torch.tensor([0, 0, 0, 1, 1, 2])
SAID = torch.tensor([0, 0, 1, 1, 1, 0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    out = tmp_path_factory.mktemp("run")
    data = ["--data", str(small), "--labels", str(small / "labels.txt")]
    assert main(["--epochs", "2", "--threads", "1", "--out", str(out), *data]) == 0
    return out


def test_every_picture_is_drawn(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    for name in PICTURES:
        with Image.open(run / f"{name}.png") as image:
            assert min(image.size) > 300
            assert image.convert("L").getextrema() != (255, 255)
    table = capsys.readouterr().out
    assert table.startswith("| class | images | accuracy | precision |")
    assert table.count("\n| class ") == 10


def test_pictures_can_go_elsewhere(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run), "--out", str(tmp_path)]) == 0
    assert sorted(path.stem for path in tmp_path.iterdir()) == list(PICTURES)


def test_other_pictures_are_not_replaced_unawares(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mistakes.png").write_text("another's")
    assert main(["report", str(run), "--out", str(tmp_path)]) == 1
    assert "holds pictures (mistakes.png): choose another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mistakes.png"]
    assert main(["report", str(run), "--out", str(tmp_path), "--overwrite"]) == 0
    assert sorted(path.stem for path in tmp_path.iterdir()) == list(PICTURES)


def test_a_byte_order_mark_and_labels_like_formulas_do_no_harm(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    metrics = copy / "metrics.json"
    metrics.write_bytes(codecs.BOM_UTF8 + metrics.read_bytes())
    kept = load_checkpoint(copy / "checkpoint.safetensors")
    labels = json.dumps([f"${i}\\frac$" for i in range(10)])
    metadata = {**kept.metadata, "labels": labels}
    save_checkpoint(copy / "checkpoint.safetensors", kept.model, metadata)
    assert main(["report", str(copy), "--out", str(tmp_path / "new" / "folder")]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": "{"}, "does not name its classes"),
        ({"labels": '["one"]'}, "names 1 classes, its network has 10"),
        ({"dataset": "[1]"}, "does not name its data set"),
    ],
)
def test_a_checkpoint_of_another_kind_is_told(
    run: Path,
    tmp_path: Path,
    change: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(run / "metrics.json", tmp_path)
    kept = load_checkpoint(run / "checkpoint.safetensors")
    save_checkpoint(tmp_path / "checkpoint.safetensors", kept.model, {**kept.metadata, **change})
    assert main(["report", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_run_with_a_validation_split_is_judged_by_it(tmp_path: Path, small: Path) -> None:
    data = ["--data", str(small), "--labels", str(small / "labels.txt")]
    assert main(["--epochs", "1", "--validation", "--out", str(tmp_path), *data]) == 0
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "confusion_matrix.png").exists()


def test_another_data_set_is_refused(
    run: Path, tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(small, other)
    labels = other / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    labels.write_bytes(content)
    assert main(["report", str(run), "--data", str(other)]) == 1
    assert "t10k-labels-idx1-ubyte is not the one this run used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run: cannot read"),
        ("{", "is not JSON"),
        ("[]", "is not a run's: it has no data, epochs, history, recipe_values, validation"),
        ('{"data": null}', "is not a run's: it has no epochs, history, recipe_values, validation"),
    ],
)
def test_what_is_no_run_is_told(
    tmp_path: Path, content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_confusions_are_counted_by_true_class_then_predicted() -> None:
    assert count_confusions(TRUE, SAID, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_results_per_class() -> None:
    dress, coat, bag = class_results(count_confusions(TRUE, SAID, 3), ("Dress", "Coat", "Bag"))
    assert (dress.images, dress.recall, dress.precision) == (3, 2 / 3, 2 / 3)
    assert (coat.recall, coat.precision) == (1.0, 2 / 3)
    assert (bag.recall, bag.precision) == (0.0, 0.0)
    assert "| Coat | 2 | 1.000 | 0.667 |" in as_table([dress, coat, bag])


def test_mistakes_come_most_confident_first() -> None:
    logits = torch.tensor([[3.0, 0, 0], [0, 1, 0], [0, 0, 9], [0, 5, 0]])
    found = most_confident_mistakes(logits, torch.tensor([0, 0, 0, 0]), most=2)
    assert [(m.index, m.label, m.predicted) for m in found] == [(2, 0, 2), (3, 0, 1)]
    assert found[0].confidence > found[1].confidence > 0.9


def test_a_perfect_network_makes_no_mistakes() -> None:
    assert most_confident_mistakes(torch.eye(3), torch.arange(3), most=5) == []


def test_the_matrix_shows_every_count_but_zero() -> None:
    axis = confusion_figure(count_confusions(TRUE, SAID, 3), ("a", "b", "c")).axes[0]
    shown = {text.get_position(): text.get_text() for text in axis.texts}
    assert shown == {(0, 0): "2", (1, 0): "1", (1, 1): "2", (0, 2): "1"}


def test_the_histograms_show_every_layer() -> None:
    figure = histograms_figure(lenet_bn(), "reestimated")
    assert len(figure.axes) == 4 * 4
    labels = [axis.get_ylabel() for axis in figure.axes[::4]]
    assert labels == [
        "after convolution 1\nchannel",
        "after convolution 2\nchannel",
        "after linear layer 1\nnumber of channels",
        "after linear layer 2\nnumber of channels",
    ]
    assert "measured over the training set" in figure.get_suptitle()


def test_the_histograms_show_the_batch_norms_within_blocks() -> None:
    figure = histograms_figure(resnet_bn(), "moving")
    labels = [axis.get_ylabel().splitlines()[0] for axis in figure.axes[::4]]
    # 4 and 9 are the shortcuts, which no batch norm follows.
    assert labels == [f"after convolution {number}" for number in (1, 2, 3, 5, 6, 7, 8, 10, 11)]


def test_the_bars_of_a_class_are_its_accuracy_and_its_precision() -> None:
    results = class_results(count_confusions(TRUE, SAID, 3), ("Dress", "Coat", "Bag"))
    axis = per_class_figure(results).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Bag", "Dress", "Coat"]
    accuracy, precision = (
        [bar.get_width() for bar in bars.patches]
        for bars in axis.containers
        if isinstance(bars, BarContainer)
    )
    assert accuracy == [0, 2 / 3, 1]
    assert precision == [0, 2 / 3, 2 / 3]


def test_the_curves_are_those_of_the_metrics(run: Path, real: Split) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    accuracy_axis, loss_axis = curves_figure(metrics).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy_axis.get_lines()}
    assert lines["test accuracy"] == [epoch["test_accuracy"] for epoch in metrics["history"]]
    assert lines["train accuracy"] == [epoch["train_accuracy"] for epoch in metrics["history"]]
    assert lines[f"checkpoint: {metrics['test_accuracy']:.4f}"] == [metrics["test_accuracy"]]
    (loss,) = loss_axis.get_lines()
    assert list(loss.get_ydata()) == [epoch["train_loss"] for epoch in metrics["history"]]
