"""Batch normalization, written from scratch.

Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015, https://arxiv.org/abs/1502.03167.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

EPS = 1e-5
MOMENTUM = 0.9


def batch_norm(
    X: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    eps: float,
    momentum: float,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize each channel of X, then scale and shift it (Algorithm 1 of the paper).

        Y = gamma * (X - mean) / sqrt(var + eps) + beta

    In training, mean and var are those of the batch. var is the biased variance
    (divided by the number of values n, not by n - 1). The moving statistics are
    updated:

        moving = momentum * moving + (1 - momentum) * batch

    In evaluation, mean and var are the moving statistics, which are returned
    unchanged (Algorithm 2, with a moving average for the population's).
    No argument is modified.

    Args:
        X: (N, C) features or (N, C, H, W) feature maps, floating point.
        gamma: the scale, (1, C) or (1, C, 1, 1), of X's dtype.
        beta: the shift, of gamma's shape and dtype.
        moving_mean: of gamma's shape and dtype; carries no gradient.
        moving_var: of gamma's shape and dtype; carries no gradient.
        eps: added to the variance, so that a constant channel does not divide by zero.
        momentum: share of the old moving statistics that is kept, 0 to 1. (torch
            uses this name for the other share: torch's is 1 - momentum.)
        training: whether to use the batch's statistics. It is independent of
            gradients: all four combinations with grad mode are meaningful.

    Returns:
        Y of X's shape, and the new moving_mean and moving_var.

    Raises:
        ValueError: X is neither 2-D nor 4-D.
    """
    axes = _axes_to_average(X)
    if not training:
        return _normalize(X, gamma, beta, moving_mean, moving_var, eps), moving_mean, moving_var
    with torch.no_grad():  # the gradient through them is in _NormalizeByBatch
        mean = X.mean(axes, keepdim=True)  # (1, C) or (1, C, 1, 1)
        var = (X - mean).square().mean(axes, keepdim=True)  # (1, C) or (1, C, 1, 1)
        moving_mean = momentum * moving_mean + (1 - momentum) * mean
        moving_var = momentum * moving_var + (1 - momentum) * var
    Y: Tensor = _NormalizeByBatch.apply(X, gamma, beta, mean, var, eps)
    return Y, moving_mean, moving_var


def _normalize(
    X: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
) -> Tensor:
    # One division per channel, not one per value.
    scale = gamma * torch.rsqrt(var + eps)  # (1, C) or (1, C, 1, 1)
    return (X - mean) * scale + beta  # (N, C) or (N, C, H, W)


class _NormalizeByBatch(Function):
    """Normalize X by its own mean and variance, with the gradient of section 3.

    With G the gradient of Y, X_hat the normalized X and n the number of values
    averaged in a channel, the paper's six equations simplify to

        beta_grad  = sum G
        gamma_grad = sum G * X_hat
        X_grad     = gamma / sqrt(var + eps) * (G - beta_grad / n - X_hat * gamma_grad / n)

    Autograd computes the same, but reads X twice as often: it also
    differentiates the variance with respect to the mean, which gives zero.
    """

    @staticmethod
    def forward(
        ctx: Any, X: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float
    ) -> Tensor:
        """Return Y; mean and var must be those of X."""
        ctx.save_for_backward(X, gamma, mean, var)
        ctx.eps = eps
        return _normalize(X, gamma, beta, mean, var, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, G: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Return the gradients of X, gamma and beta."""
        X, gamma, mean, var = ctx.saved_tensors
        axes = _axes_to_average(X)
        n = X.numel() // X.shape[1]
        inverse_deviation = torch.rsqrt(var + ctx.eps)  # (1, C) or (1, C, 1, 1)
        X_hat = (X - mean) * inverse_deviation  # (N, C) or (N, C, H, W)
        beta_grad = G.sum(axes, keepdim=True)  # (1, C) or (1, C, 1, 1)
        gamma_grad = (G * X_hat).sum(axes, keepdim=True)  # (1, C) or (1, C, 1, 1)
        centred = G - beta_grad / n - X_hat * (gamma_grad / n)  # (N, C) or (N, C, H, W)
        return gamma * inverse_deviation * centred, gamma_grad, beta_grad, None, None, None


def _axes_to_average(X: Tensor) -> tuple[int, ...]:
    """Return all axes except the channels': a feature map's pixels share one mean (section 3.2)."""
    if X.dim() == 2:
        return (0,)
    if X.dim() == 4:
        return (0, 2, 3)
    raise ValueError(
        f"batch_norm takes (N, C) or (N, C, H, W), not a tensor of shape {tuple(X.shape)}: "
        "reshape it first"
    )


class BatchNorm(nn.Module):
    """`batch_norm` with its parameters and moving statistics.

    gamma and beta are trained. moving_mean and moving_var are buffers: they
    move with `.to()`, are saved with the weights, and are not optimised.
    Only `self.training` sets the mode, not whether gradients are enabled.
    """

    gamma: Tensor
    beta: Tensor
    moving_mean: Tensor
    moving_var: Tensor

    def __init__(self, num_features: int, num_dims: int) -> None:
        """Initialise as the identity on standardised inputs: gamma 1, beta 0, mean 0, variance 1.

        Args:
            num_features: the number of channels C.
            num_dims: 2 for inputs (N, C), 4 for inputs (N, C, H, W).

        Raises:
            ValueError: num_dims is neither 2 nor 4.
        """
        super().__init__()
        if num_dims not in (2, 4):
            raise ValueError(
                f"num_dims is {num_dims}: it must be 2 for (N, C) or 4 for (N, C, H, W)"
            )
        shape = (1, num_features) + (1,) * (num_dims - 2)  # (1, C) or (1, C, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.register_buffer("moving_mean", torch.zeros(shape))
        self.register_buffer("moving_var", torch.ones(shape))

    def forward(self, X: Tensor) -> Tensor:
        """Normalize X, (N, C) or (N, C, H, W) by num_dims; in training, update the statistics."""
        self._check_shape(X)
        # Under autocast X may have 16 bits, too few to average thousands of values.
        X = X.to(self.gamma.dtype)
        Y, moving_mean, moving_var = batch_norm(
            X,
            self.gamma,
            self.beta,
            self.moving_mean,
            self.moving_var,
            eps=EPS,
            momentum=MOMENTUM,
            training=self.training,
        )
        if self.training:
            self.moving_mean, self.moving_var = moving_mean, moving_var
        return Y

    def _check_shape(self, X: Tensor) -> None:
        """Check rank and channel count: another shape could broadcast to a wrong result."""
        if X.dim() != self.gamma.dim() or X.shape[1] != self.gamma.shape[1]:
            channels = self.gamma.shape[1]
            expected = f"(N, {channels})" if self.gamma.dim() == 2 else f"(N, {channels}, H, W)"
            raise ValueError(
                f"this BatchNorm takes {expected}, not a tensor of shape {tuple(X.shape)}"
            )

    def extra_repr(self) -> str:
        """Return the constructor's arguments as text."""
        return f"{self.gamma.shape[1]}, num_dims={self.gamma.dim()}"
