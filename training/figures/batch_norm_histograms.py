"""Draw the parameters and moving statistics of batch norm, layer by layer."""

from matplotlib.figure import Figure
from torch import nn

from training.batch_norm import BatchNorm

COLUMNS = ("gamma", "beta", "moving_mean", "moving_var")


def histograms_figure(model: nn.Sequential) -> Figure:
    """Return histograms of gamma, beta, moving mean and moving variance for every layer."""
    layers = [(i, layer) for i, layer in enumerate(model) if isinstance(layer, BatchNorm)]
    figure = Figure(figsize=(2.7 * len(COLUMNS), 2.1 * len(layers)), layout="constrained")
    axes = figure.subplots(len(layers), len(COLUMNS), squeeze=False)
    for row, (index, layer) in zip(axes, layers, strict=True):
        for axis, name in zip(row, COLUMNS, strict=True):
            values = getattr(layer, name).detach().flatten().cpu().numpy()  # (C,)
            axis.hist(values, bins=20, color="tab:blue")
            axis.yaxis.get_major_locator().set_params(integer=True)
            axis.spines[["top", "right"]].set_visible(False)
        before = type(model[index - 1]).__name__
        row[0].set_ylabel(f"layer {index}, after {before}\n{values.size} channels")
    for axis, name in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(name.replace("_", " ").replace("var", "variance"))
    return figure
