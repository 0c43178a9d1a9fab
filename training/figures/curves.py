"""Draw the learning curves: the notebook's plot of train loss, train and test accuracy."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

MANY = 20  # more epochs than this are drawn as a line without dots, from epoch STEEP + 1 on
STEEP = 3


def curves_figure(metrics: Mapping[str, Any]) -> Figure:
    """Return a figure of loss and accuracies over the epochs, on two y axes.

    Args:
        metrics: as in metrics.json. A star marks the accuracy of the checkpoint
            itself, whose statistics may differ from those during training.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    accuracy_axis = figure.add_subplot()
    loss_axis = accuracy_axis.twinx()
    history = metrics["history"]
    held = "validation" if metrics["validation"] else "test"
    _plot(loss_axis, history, "train_loss", "tab:gray", "--")
    _plot(accuracy_axis, history, "train_accuracy", "tab:blue")
    _plot(accuracy_axis, history, f"{held}_accuracy", "tab:orange")
    _mark_checkpoint(accuracy_axis, metrics, f"{held}_accuracy")
    accuracy_axis.set_xlabel("epoch")
    accuracy_axis.set_ylabel("accuracy")
    accuracy_axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy_axis.grid(alpha=0.3)
    loss_axis.set_ylabel("train loss")
    loss_axis.set_ylim(bottom=0)
    if len(history) > MANY:
        _zoom_past_the_start(accuracy_axis, loss_axis, history, held)
    handles = [*loss_axis.get_lines(), *accuracy_axis.get_lines()]
    accuracy_axis.legend(handles=handles, loc="lower center")
    return figure


def _plot(
    axis: Axes, history: list[Mapping[str, Any]], name: str, colour: str, linestyle: str = "-"
) -> None:
    axis.plot(
        [epoch["epoch"] for epoch in history],
        [epoch[name] for epoch in history],
        marker="o" if len(history) <= MANY else "",
        markersize=4,
        label=name.replace("_", " "),
        color=colour,
        linestyle=linestyle,
    )


def _zoom_past_the_start(
    accuracy_axis: Axes, loss_axis: Axes, history: list[Mapping[str, Any]], held: str
) -> None:
    """Cut off the first epochs: their steep changes would flatten the rest."""
    first = history[STEEP]
    accuracy_axis.set_ylim(bottom=min(first["train_accuracy"], first[f"{held}_accuracy"]))
    loss_axis.set_ylim(top=first["train_loss"])


def _mark_checkpoint(axis: Axes, metrics: Mapping[str, Any], name: str) -> None:
    if name in metrics:
        label = f"checkpoint: {metrics[name]:.4f}"
        axis.plot([metrics["epochs"]], [metrics[name]], "*", color="tab:red", ms=12, label=label)
