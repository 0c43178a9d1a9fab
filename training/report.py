"""The pictures of a finished run.

curves.png             train loss, train accuracy, test accuracy by epoch
confusion_matrix.png   which classes are taken for which
per_class.png          accuracy of each class
mistakes.png           the wrong answers that the network was surest of
batch_norm.png         gamma, beta and moving statistics of each layer
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.batch_norm_histograms import histograms_figure
from training.checkpoint import Checkpoint, load_checkpoint
from training.confusion_matrix import confusion_figure, count_confusions
from training.curves import curves_figure
from training.dataset import Split, SplitName, read_split
from training.errors import RunError
from training.evaluation import predict
from training.fashion_mnist import load_split
from training.holdout import hold_out
from training.mistakes import COLUMNS, ROWS, mistakes_figure, most_confident_mistakes
from training.per_class import as_table, class_results, per_class_figure
from training.png import write_png
from training.run_directory import RunDirectory
from training.settings import ReportSettings


def write_report(settings: ReportSettings) -> str:
    """Draw every picture; return the results per class as a Markdown table.

    Raises:
        TrainingError: the run, its checkpoint or its data set is not to be had.
    """
    directory = RunDirectory(settings.run)
    metrics = _read_metrics(directory.metrics)
    checkpoint = load_checkpoint(directory.checkpoint)
    labels = tuple(json.loads(checkpoint.metadata["labels"]))
    held = _held_images(metrics, checkpoint, labels, settings.data)
    logits = predict(checkpoint.model, held.images)  # (N, K)
    counts = count_confusions(held.labels, logits.argmax(1), len(labels))  # (K, K)
    results = class_results(counts, labels)
    mistakes = most_confident_mistakes(logits, held.labels, ROWS * COLUMNS)
    figures = {
        "curves.png": curves_figure(metrics),
        "confusion_matrix.png": confusion_figure(counts, labels),
        "per_class.png": per_class_figure(results),
        "mistakes.png": mistakes_figure(mistakes, held, labels),
        "batch_norm.png": histograms_figure(checkpoint.model),
    }
    for name, figure in figures.items():
        write_png((settings.out or settings.run) / name, figure)
    return as_table(results)


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"{path.parent} is not a run: cannot read {path}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}): train again") from error
    return metrics


def _held_images(
    metrics: Mapping[str, Any], checkpoint: Checkpoint, labels: tuple[str, ...], data: Path | None
) -> Split:
    """Load the images that the run was judged by, and make sure that it is those."""
    folder = data or (Path(metrics["data"]) if metrics["data"] else None)
    name: SplitName = "train" if metrics["validation"] else "test"
    split = load_split(name) if folder is None else read_split(folder, name, len(labels))
    known = json.loads(checkpoint.metadata["dataset"])
    for file, digest in split.digests.items():
        if known.get(file) != digest:
            raise RunError(
                f"{file} is not the one this run used: name the folder of its data with --data"
            )
    return hold_out(split)[1] if metrics["validation"] else split
