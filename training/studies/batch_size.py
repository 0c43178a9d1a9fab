"""Study how noisy a batch's statistics are by its size, and what the noise costs.

    python -m training.studies.batch_size --out docs/images/batch_size

It trains nothing: the released network classifies test images with the statistics of
batches of 4 to 256. A seed decides which images there are in a batch. It is a
demonstration: no choice depends on its test accuracies.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from torch import Tensor, nn

from training.batch_norm import BatchNorm
from training.data.dataset import Split
from training.data.pixels import to_float
from training.evaluation import evaluate
from training.files.checkpoint import load_checkpoint
from training.studies.moving_statistics import accuracy_by_batch
from training.studies.spread import plot_spread
from training.studies.study import Result, run_study

RELEASED = Path("models/fashion_lenet/checkpoint.safetensors")
SIZES = (4, 8, 16, 32, 64, 128, 256)
IMAGES = 4096  # 16 batches of the largest size
LAYERS = ("convolution 1", "convolution 2", "linear layer 1", "linear layer 2")
COLOURS = ("tab:blue", "tab:green", "tab:orange", "tab:red")


def study(split: Split, seed: int) -> Result:
    """Return noise and accuracy by batch size, of images in a random order."""
    network = load_checkpoint(RELEASED).model.eval()
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:IMAGES]
    images = Split(split.images[order], split.labels[order], split.digests)
    result = {
        "noise": noise(network, images.images),
        "batch_accuracy": [accuracy_by_batch(network, images, size) for size in SIZES],
        "population_accuracy": evaluate(network, images).accuracy,
    }
    print(f"seed {seed}: {result}", flush=True)
    return result


def noise(network: nn.Sequential, images: Tensor) -> dict[str, dict[str, list[float]]]:
    """Return for each batch norm the noise of its mean and its variance, by batch size."""
    inputs = []
    X = to_float(images)
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, BatchNorm):
                inputs.append(X)
            X = layer(X)
    found = {}
    for name, X in zip(LAYERS, inputs, strict=True):
        means, variances = zip(*(statistics_noise(X, size) for size in SIZES), strict=True)
        found[name] = {"mean": list(means), "variance": list(variances)}
    return found


def statistics_noise(X: Tensor, size: int) -> tuple[float, float]:
    """Return how much the mean and the variance of a batch vary from batch to batch.

        mean noise      sqrt(variance over batches of m_b / v)
        variance noise  sqrt(variance over batches of v_b / v^2)

    with m_b and v_b the mean and biased variance of batch b, and v the variance of all
    values; under the root is the mean over the channels. For n independent normal values in a
    batch they are 1 / sqrt(n) and sqrt(2 (n - 1)) / n.

    Args:
        X: (N, C) or (N, C, H, W), N a multiple of size, two batches or more.
        size: images in a batch.
    """
    batches = X.reshape(-1, size, X.shape[1], X[0, 0].numel()).double()  # (B, size, C, H * W)
    v = batches.var((0, 1, 3), correction=0)  # (C,)
    v_b, m_b = torch.var_mean(batches, (1, 3), correction=0)  # (B, C), (B, C)
    mean_noise = (m_b.var(0) / v).mean().sqrt()
    variance_noise = (v_b.var(0) / v.square()).mean().sqrt()
    return float(mean_noise), float(variance_noise)


def study_figure(results: Sequence[Result]) -> Figure:
    """Return a figure of the noise of the mean and of the variance, and of the accuracy."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    mean, variance, accuracy = axes = figure.subplots(1, 3)
    for axis, name in ((mean, "mean"), (variance, "variance")):
        for layer, colour in zip(LAYERS, COLOURS, strict=True):
            rows = [result["noise"][layer][name] for result in results]
            plot_spread(axis, SIZES, rows, f"after {layer}", colour)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
    independent = [size**-0.5 for size in SIZES]
    mean.plot(SIZES, independent, ":", color="0.3", label="1 / sqrt(images)")
    mean.set_title("Noise of the mean, in deviations")
    variance.set_title("Noise of the variance, as a share of it")
    rows = [result["batch_accuracy"] for result in results]
    plot_spread(accuracy, SIZES, rows, "the batch's statistics", "tab:gray")
    rows = [[result["population_accuracy"]] * len(SIZES) for result in results]
    plot_spread(accuracy, SIZES, rows, "the population's statistics", "tab:blue", "--")
    accuracy.set_title("Test accuracy")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_xticks(SIZES, [str(size) for size in SIZES])
        axis.set_xlabel("images in a batch")
    mean.legend(fontsize=8)
    accuracy.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    run_study("The noise of batch norm's statistics by batch size.", study, study_figure)
