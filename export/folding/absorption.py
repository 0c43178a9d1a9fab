"""The mathematics of folding: a batch norm in eval mode is an affine map, and so is the layer.

In eval mode the moving statistics are constants, and batch norm (Ioffe &
Szegedy 2015, Algorithm 2, line 11) has one factor and one shift per channel:

    z = gamma * (y - mean) / sqrt(var + eps) + beta = s y + t

    s = gamma / sqrt(var + eps)        t = beta - mean s

    after a layer y = W x + b:   s (W x + b) + t = (s W) x + ((b - mean) s + beta)
    before a layer W y + b:      W (s x + t) + b = (W s) x + (b + W t)

The right sides are the same layer with other numbers. docs/folding.md derives it.
"""

import torch
from torch import Tensor


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    eps: float,
    *,
    transposed_groups: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Fold one batch norm into the layer before it, in float64.

    With F output channels:

        weight' = s * weight         s = gamma / sqrt(moving_var + eps)
        bias'   = (bias - moving_mean) * s + beta

    Args:
        weight: (F, ...), a convolution's (F, C / groups, k...) or a linear layer's
            (F, D); (C, F / groups, k...) for a transposed convolution.
        bias: (F,), or None for a layer without one.
        gamma: F values in any shape, such as (1, F, 1, 1).
        beta: F values in any shape.
        moving_mean: F values in any shape.
        moving_var: F values in any shape, none negative.
        eps: what the batch norm adds to the variance.
        transposed_groups: a transposed convolution's groups; None for other layers.

    Returns:
        weight' of weight's shape and bias' (F,), both float64. No argument is modified.
    """
    gamma, beta, mean, var = (t.double().flatten() for t in (gamma, beta, moving_mean, moving_var))
    scale = gamma / torch.sqrt(var + eps)  # (F,)
    old_bias = torch.zeros_like(mean) if bias is None else bias.double()  # (F,)
    if transposed_groups is None:
        factors = scale.unsqueeze(1)  # (F, 1)
    else:
        factors = _by_group(scale, transposed_groups, len(weight))  # (C, F / groups)
    return _multiply(weight, factors), (old_bias - mean) * scale + beta


def fold_batch_norm_before(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    eps: float,
    *,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """Fold one batch norm into the unpadded layer after it, in float64.

    With C input channels, and c(f, j) the input channel that weight[f, j] multiplies:

        weight'[f, j, k...] = weight[f, j, k...] * s[c(f, j)]    s = gamma / sqrt(moving_var + eps)
        bias'[f] = bias[f] + sum over j, k of weight[f, j, k...] * t[c(f, j)]
        t = beta - moving_mean * s

    Args:
        weight: (F, C / groups, k...), or a linear layer's (F, D) with D a multiple
            of C: after a flatten, D / C adjacent columns belong to one channel.
        bias: (F,), or None for a layer without one.
        gamma: C values in any shape.
        beta: C values in any shape.
        moving_mean: C values in any shape.
        moving_var: C values in any shape, none negative.
        eps: what the batch norm adds to the variance.
        groups: a convolution's groups.

    Returns:
        weight' of weight's shape and bias' (F,), both float64. No argument is modified.
    """
    gamma, beta, mean, var = (t.double().flatten() for t in (gamma, beta, moving_mean, moving_var))
    scale = gamma / torch.sqrt(var + eps)  # (C,)
    shift = beta - mean * scale  # (C,)
    columns = weight.shape[1] * groups // len(scale)
    scales, shifts = (
        _by_group(t.repeat_interleave(columns), groups, len(weight)) for t in (scale, shift)
    )  # (F, C / groups) or (F, D)
    added = _multiply(weight, shifts).flatten(1).sum(dim=1)  # (F,)
    return _multiply(weight, scales), added if bias is None else bias.double() + added


def _by_group(channels: Tensor, groups: int, rows: int) -> Tensor:
    """Return the group's channels for each row of a grouped weight: (K,) to (rows, K / groups)."""
    return channels.reshape(groups, -1).repeat_interleave(rows // groups, dim=0)


def _multiply(weight: Tensor, factors: Tensor) -> Tensor:
    """Multiply (A, B, k...) by factors (A, B) or (A, 1), in float64."""
    kernel = (1,) * (weight.dim() - 2)
    return weight.double() * factors.reshape(*factors.shape, *kernel)
