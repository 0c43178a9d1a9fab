"""An exponential moving average of a network's weights and statistics."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn


class MovingAverage:
    """A second network with the moving average of every tensor of the first one.

        average = decay * average + (1 - decay) * trained

    decay is at most (1 + t) / (10 + t) after t updates, so that the random initial
    weights quickly lose their influence. Batch norm's gamma, beta, moving_mean and
    moving_var are averaged too: averaged weights need averaged statistics.
    """

    def __init__(self, model: nn.Sequential, decay: float) -> None:
        """Start from a copy of the model, in eval mode."""
        self.model = deepcopy(model).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, trained: nn.Sequential) -> None:
        """Update the average with the trained network."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(_tensors(self.model)), list(_tensors(trained)), 1 - decay)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
