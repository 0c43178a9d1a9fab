"""Draw the parameters and statistics of batch norm, layer by layer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from matplotlib.figure import Figure
from torch import nn

from training.batch_norm import BatchNorm

COLUMNS = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_var": "variance"}
FEW_CHANNELS = 30  # with fewer, a histogram has hardly more than one channel a bin
ORIGINS = {"moving": "moving averages", "reestimated": "measured over the training set"}
KINDS: Mapping[type[nn.Module], str] = {nn.Conv2d: "convolution", nn.Linear: "linear layer"}


def histograms_figure(model: nn.Sequential, statistics: Literal["moving", "reestimated"]) -> Figure:
    """Return a figure of gamma, beta, mean and variance for every layer.

    A layer with few channels has a dot for each of them, any other a histogram.

    Args:
        model: the network.
        statistics: how its mean and variance were measured, as in `training.recipes.Recipe`.
    """
    layers = list(_batch_norms(model))
    figure = Figure(figsize=(2.7 * len(COLUMNS), 2.1 * len(layers)), layout="constrained")
    figure.suptitle(f"Batch norm by layer; mean and variance are {ORIGINS[statistics]}")
    axes = figure.subplots(len(layers), len(COLUMNS), squeeze=False)
    for row, (position, layer) in zip(axes, layers, strict=True):
        few = layer.gamma.numel() < FEW_CHANNELS
        for axis, name in zip(row, COLUMNS, strict=True):
            values = getattr(layer, name).detach().flatten().cpu().numpy()  # (C,)
            if few:
                axis.plot(values, range(values.size), "o", color="tab:blue", markersize=4)
                axis.set_ylim(-0.7, values.size - 0.3)
            else:
                axis.hist(values, bins=20, color="tab:blue")
            axis.yaxis.get_major_locator().set_params(integer=True)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"{position}\n{'channel' if few else 'number of channels'}")
    for axis, title in zip(axes[0], COLUMNS.values(), strict=True):
        axis.set_title(title)
    return figure


def _batch_norms(model: nn.Module) -> Iterator[tuple[str, BatchNorm]]:
    """Yield each batch norm with its position, as "after convolution 2"."""
    numbers: Counter[str] = Counter()
    position = ""
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            yield position, layer
        elif (kind := KINDS.get(type(layer))) is not None:
            numbers[kind] += 1
            position = f"after {kind} {numbers[kind]}"
