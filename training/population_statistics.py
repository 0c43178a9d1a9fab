"""Batch-norm statistics over a whole data set ("precise BN").

Ioffe & Szegedy 2015, Algorithm 2, lines 8 to 11, uses the population's mean and
variance for inference. Moving averages are a cheap approximation, and a bad one
if weights change fast. Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021,
section 3, https://arxiv.org/abs/2105.07576, compares the two.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from training.batch_norm import BatchNorm
from training.data.pixels import to_float


class PopulationStatistics:
    """Mean and biased variance per channel of all values seen, batch by batch.

    Batches b with n_b values, mean m_b and biased variance v_b are combined to

        mean = sum n_b m_b / n                          (mean of batch means)
        var  = sum n_b (v_b + (m_b - mean)^2) / n       (law of total variance)

    computed in float64 and in Chan's centred form: E[x^2] - E[x]^2 would cancel.
    """

    def __init__(self) -> None:
        """Start with no values."""
        self.count = 0
        self.mean: Tensor = torch.zeros((), dtype=torch.float64)
        self._squares: Tensor = torch.zeros((), dtype=torch.float64)  # sum of (x - mean)^2

    @property
    def var(self) -> Tensor:
        """Return the biased variance, in the mean's shape, float64."""
        return self._squares / self.count

    def add(self, X: Tensor) -> None:
        """Add a batch (N, C) or (N, C, H, W) of any floating dtype and any size."""
        axes = [axis for axis in range(X.dim()) if axis != 1]
        var, mean = torch.var_mean(X.to(torch.float64), axes, correction=0, keepdim=True)
        count = X.numel() // X.shape[1]
        total = self.count + count
        delta = mean - self.mean.to(mean.device)  # (1, C) or (1, C, 1, 1)
        between = delta.square() * (self.count * count / total)
        self._squares = self._squares.to(var.device) + var * count + between
        self.mean = mean - delta * (self.count / total)
        self.count = total


def with_population_statistics(
    model: nn.Sequential, images: Tensor, batch_size: int
) -> nn.Sequential:
    """Return a copy of the model whose moving statistics are those of the images.

    It takes one pass in train mode: every layer gets the same kind of input as in
    training, with each earlier layer normalized by its batch. The estimate depends
    on the batch size, which should be that of training or larger.

    Args:
        model: the network; not modified.
        images: (N, 1, 28, 28) uint8 on the model's device.
        batch_size: images per batch; the last batch may be smaller.

    Returns:
        The copy, in eval mode, statistics rounded once from float64.
    """
    copy = deepcopy(model).train()
    layers = [layer for layer in copy.modules() if isinstance(layer, BatchNorm)]
    found = [PopulationStatistics() for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(partial(_observe, statistics))
        for layer, statistics in zip(layers, found, strict=True)
    ]
    with torch.no_grad():
        for batch in torch.split(images, batch_size):
            copy(to_float(batch))
    for layer, statistics, hook in zip(layers, found, hooks, strict=True):
        hook.remove()
        layer.moving_mean = statistics.mean.to(layer.moving_mean)  # (1, C) or (1, C, 1, 1)
        layer.moving_var = statistics.var.to(layer.moving_var)  # (1, C) or (1, C, 1, 1)
    return copy.eval()


def _observe(statistics: PopulationStatistics, _layer: nn.Module, inputs: Iterable[Tensor]) -> None:
    for X in inputs:
        statistics.add(X)
