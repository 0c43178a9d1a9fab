"""Draw the wrong predictions with the highest confidence."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor

from training.data.dataset import Split

ROWS, COLUMNS = 4, 6


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction."""

    index: int  # in its split
    label: int
    predicted: int
    confidence: float  # the probability of the predicted class


def most_confident_mistakes(logits: Tensor, labels: Tensor, most: int) -> list[Mistake]:
    """Return up to `most` mistakes, the most confident first.

    Args:
        logits: (N, K) floating point.
        labels: (N,) int64.
        most: the largest number of mistakes to return.
    """
    confidence, predicted = logits.double().softmax(1).max(1)  # (N,), (N,)
    wrong = (predicted != labels).nonzero().flatten()  # (mistakes,)
    order = confidence[wrong].argsort(descending=True, stable=True)[:most]  # (most,)
    return [
        Mistake(int(i), int(labels[i]), int(predicted[i]), float(confidence[i]))
        for i in wrong[order]
    ]


def mistakes_figure(mistakes: list[Mistake], split: Split, labels: tuple[str, ...]) -> Figure:
    """Return a figure of the images, each with its true and its predicted class."""
    figure = Figure(figsize=(1.7 * COLUMNS, 2.05 * ROWS), layout="constrained")
    axes = figure.subplots(ROWS, COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, mistake in zip(axes, mistakes, strict=False):
        axis.imshow(split.images[mistake.index, 0].numpy(), cmap="gray", vmin=0, vmax=255)
        axis.set_title(
            f"true: {labels[mistake.label]}\npredicted: {labels[mistake.predicted]}\n"
            f"({mistake.confidence:.1%})",
            fontsize=9,
        )
    return figure
