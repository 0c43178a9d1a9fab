"""The learning curves: the notebook's plot of train loss, train accuracy and test accuracy."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.atomic_write import write_atomically
from training.history import Epoch


def draw_curves(path: Path, history: Sequence[Epoch], held_name: str) -> None:
    """Write the curves as a PNG."""
    write_atomically(path, _png(curves_figure(history, held_name)))


def curves_figure(history: Sequence[Epoch], held_name: str) -> Figure:
    """Draw loss and accuracies over the epochs, each on an axis of its own scale."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    accuracy_axis = figure.add_subplot()
    loss_axis = accuracy_axis.twinx()
    numbers = [epoch.number for epoch in history]
    marker = "o" if len(history) <= 20 else ""
    lines = [
        loss_axis.plot(
            numbers,
            [epoch.trained.loss for epoch in history],
            color="tab:gray",
            linestyle="--",
            marker=marker,
            markersize=4,
            label="train loss",
        ),
        accuracy_axis.plot(
            numbers,
            [epoch.trained.accuracy for epoch in history],
            color="tab:blue",
            marker=marker,
            markersize=4,
            label="train accuracy",
        ),
        accuracy_axis.plot(
            numbers,
            [epoch.held.accuracy for epoch in history],
            color="tab:orange",
            marker=marker,
            markersize=4,
            label=f"{held_name} accuracy",
        ),
    ]
    accuracy_axis.set_xlabel("epoch")
    accuracy_axis.set_ylabel("accuracy")
    loss_axis.set_ylabel("train loss")
    loss_axis.set_ylim(bottom=0)
    accuracy_axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy_axis.grid(alpha=0.3)
    accuracy_axis.legend(handles=[line for (line,) in lines], loc="center right")
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
