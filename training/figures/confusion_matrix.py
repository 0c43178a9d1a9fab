"""Compute and draw the confusion matrix."""

import torch
from matplotlib.figure import Figure
from torch import Tensor


def count_confusions(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return the confusion matrix: the images of each true class by predicted class.

    Args:
        labels: (N,) int64, the true classes.
        predicted: (N,) int64, the network's.
        num_classes: K.

    Returns:
        (K, K) int64: rows are true classes, columns predicted ones.
    """
    pairs = labels * num_classes + predicted  # (N,)
    counts = torch.bincount(pairs, minlength=num_classes**2)  # (K * K,)
    return counts.reshape(num_classes, num_classes)  # (K, K)


def confusion_figure(counts: Tensor, labels: tuple[str, ...]) -> Figure:
    """Return a figure of the counts (K, K); the colour is the share of the true class."""
    K = len(labels)
    side = 3.0 + 0.5 * K
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.add_subplot()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)  # (K, K)
    # Mistakes are a few per cent: the square root keeps them visible.
    axis.imshow(shares.sqrt().numpy(), cmap="Blues", vmin=0, vmax=1)
    for row in range(K):
        for column in range(K):
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.4 else "black"
                text = str(int(counts[row, column]))
                axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(K), labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(K), labels)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    return figure
