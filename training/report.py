"""Draw the figures of a finished run.

curves.png             train loss, train accuracy, test accuracy by epoch
confusion_matrix.png   true and predicted classes
per_class.png          accuracy and precision of each class
mistakes.png           the wrong predictions with the highest confidence
batch_norm.png         gamma, beta, mean and variance of each layer
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from training.data.dataset import Split, SplitName, read_split
from training.data.fashion_mnist import load_split
from training.data.holdout import hold_out
from training.errors import CheckpointError, RunError
from training.evaluation import predict
from training.figures.batch_norm_histograms import histograms_figure
from training.figures.confusion_matrix import confusion_figure, count_confusions
from training.figures.curves import curves_figure
from training.figures.mistakes import COLUMNS, ROWS, mistakes_figure, most_confident_mistakes
from training.figures.per_class import as_table, class_results, per_class_figure
from training.figures.png import png_bytes
from training.files.atomic_write import write_together
from training.files.checkpoint import Checkpoint, class_names, load_checkpoint
from training.files.folders import check_folder, make_folder
from training.files.run_directory import PICTURES, RunDirectory
from training.settings import ReportSettings

NEEDED = ("data", "epochs", "history", "recipe_values", "validation")  # keys of metrics.json


def write_report(settings: ReportSettings) -> str:
    """Write every figure; return the results per class as a Markdown table.

    Raises:
        TrainingError: the run, its checkpoint or its data set cannot be read, or the figures
            cannot be written; then no figure is written.
    """
    directory = RunDirectory(settings.run)
    folder = settings.out or settings.run
    check_folder(folder)
    if not (settings.overwrite or os.path.realpath(folder) == os.path.realpath(settings.run)):
        _leave_other_pictures(folder)
    metrics = _read_metrics(directory.metrics)
    checkpoint = load_checkpoint(directory.checkpoint)
    labels = class_names(checkpoint, directory.checkpoint)
    held = _held_images(metrics, checkpoint, labels, settings.data)
    logits = predict(checkpoint.model, held.images)  # (N, K)
    counts = count_confusions(held.labels, logits.argmax(1), len(labels))  # (K, K)
    results = class_results(counts, labels)
    mistakes = most_confident_mistakes(logits, held.labels, ROWS * COLUMNS)
    # A label with dollar signs is not a formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        figures = {
            "curves.png": curves_figure(metrics),
            "confusion_matrix.png": confusion_figure(counts, labels),
            "per_class.png": per_class_figure(results),
            "mistakes.png": mistakes_figure(mistakes, held, labels),
            "batch_norm.png": histograms_figure(
                checkpoint.model, metrics["recipe_values"]["statistics"]
            ),
        }
        pictures = {folder / name: png_bytes(figure) for name, figure in figures.items()}
    make_folder(folder)
    write_together(pictures)
    return as_table(results)


def _leave_other_pictures(folder: Path) -> None:
    found = [name for name in ("curves.png", *PICTURES) if (folder / name).exists()]
    if found:
        raise RunError(
            f"{folder} holds pictures ({', '.join(found)}): choose another --out, or add "
            "--overwrite to replace them"
        )


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(
            f"{path.parent} is not a run: cannot read {path}: {error.strerror}; name the folder "
            "that `python -m training` wrote"
        ) from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}): train again") from error
    missing = set(NEEDED) - set(metrics) if isinstance(metrics, dict) else set(NEEDED)
    if missing:
        raise RunError(f"{path} is not a run's: it has no {', '.join(sorted(missing))}")
    return dict(metrics)


def _held_images(
    metrics: Mapping[str, Any], checkpoint: Checkpoint, labels: tuple[str, ...], data: Path | None
) -> Split:
    """Return the images that the run was evaluated on, after checking their digests."""
    folder = data or (Path(metrics["data"]) if metrics["data"] else None)
    name: SplitName = "train" if metrics["validation"] else "test"
    split = load_split(name) if folder is None else read_split(folder, name, len(labels))
    try:
        known = dict(json.loads(checkpoint.metadata["dataset"]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError("the checkpoint does not name its data set: train again") from error
    for file, digest in split.digests.items():
        if known.get(file) != digest:
            raise RunError(
                f"{file} is not the one this run used: name the folder of its data with --data"
            )
    return hold_out(split)[1] if metrics["validation"] else split
