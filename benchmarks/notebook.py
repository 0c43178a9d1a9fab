"""The notebook's own network: a peer for the benchmark, an oracle for the tests.

d2l's batch norm as its chapter prints it, and not this project's:
https://d2l.ai/chapter_convolutional-modern/batch-norm.html. It takes prediction
mode from whether gradients are on, and its moving statistics are plain attributes
that no state dict knows.
"""

import torch
from torch import Tensor, nn


def notebook_batch_norm(
    X: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """d2l's function, as the chapter has it."""
    if not torch.is_grad_enabled():
        X_hat = (X - moving_mean) / torch.sqrt(moving_var + eps)
    else:
        assert len(X.shape) in (2, 4)  # noqa: S101
        if len(X.shape) == 2:
            mean = X.mean(dim=0)
            var = ((X - mean) ** 2).mean(dim=0)
        else:
            mean = X.mean(dim=(0, 2, 3), keepdim=True)
            var = ((X - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
        X_hat = (X - mean) / torch.sqrt(var + eps)
        moving_mean = momentum * moving_mean + (1.0 - momentum) * mean
        moving_var = momentum * moving_var + (1.0 - momentum) * var
    return gamma * X_hat + beta, moving_mean.data, moving_var.data


class NotebookBatchNorm(nn.Module):
    """d2l's layer, as the chapter has it."""

    def __init__(self, num_features: int, num_dims: int) -> None:
        super().__init__()
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.moving_mean = torch.zeros(shape)
        self.moving_var = torch.ones(shape)

    def forward(self, X: Tensor) -> Tensor:
        """Normalize, and move the statistics to X's device first."""
        if self.moving_mean.device != X.device:
            self.moving_mean = self.moving_mean.to(X.device)
            self.moving_var = self.moving_var.to(X.device)
        Y, self.moving_mean, self.moving_var = notebook_batch_norm(
            X, self.gamma, self.beta, self.moving_mean, self.moving_var, eps=1e-5, momentum=0.9
        )
        return Y


def notebook_network() -> nn.Sequential:
    """d2l's network, Xavier weights."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, kernel_size=5), NotebookBatchNorm(6, 4), nn.Sigmoid()),
        nn.AvgPool2d(kernel_size=2, stride=2),
        *(nn.Conv2d(6, 16, kernel_size=5), NotebookBatchNorm(16, 4), nn.Sigmoid()),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        *(nn.Linear(16 * 4 * 4, 120), NotebookBatchNorm(120, 2), nn.Sigmoid()),
        *(nn.Linear(120, 84), NotebookBatchNorm(84, 2), nn.Sigmoid()),
        nn.Linear(84, 10),
    )
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    return net
