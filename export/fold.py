"""Folding: a batch norm in eval mode is an affine map, so the layer before it can absorb it.

In eval mode the moving statistics are constants, and batch norm (Ioffe &
Szegedy 2015, Algorithm 2, line 11) of a layer's output y = W x + b becomes

    gamma * (W x + b - mean) / sqrt(var + eps) + beta = (s W) x + ((b - mean) s + beta)

    with s = gamma / sqrt(var + eps), one factor per output channel.

The right side is the same layer with other numbers. docs/folding.md derives it.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from export.errors import FoldError
from training.batch_norm import EPS, BatchNorm


def fold_batch_norm(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Fold one batch norm into the layer before it, in float64.

    With F output channels:

        weight' = s * weight         s = gamma / sqrt(moving_var + eps)
        bias'   = (bias - moving_mean) * s + beta

    Args:
        weight: (F, ...), a convolution's (F, C, kH, kW) or a linear layer's (F, D).
        bias: (F,), or None for a layer without one.
        gamma: F values in any shape, such as (1, F, 1, 1).
        beta: F values in any shape.
        moving_mean: F values in any shape.
        moving_var: F values in any shape, none negative.
        eps: what the batch norm adds to the variance.

    Returns:
        weight' of weight's shape and bias' (F,), both float64. No argument is modified.
    """
    gamma, beta, mean, var = (t.double().flatten() for t in (gamma, beta, moving_mean, moving_var))
    scale = gamma / torch.sqrt(var + eps)  # (F,)
    old_bias = torch.zeros_like(mean) if bias is None else bias.double()  # (F,)
    per_channel = (-1,) + (1,) * (weight.dim() - 1)
    return weight.double() * scale.reshape(per_channel), (old_bias - mean) * scale + beta


def fold(model: nn.Sequential, input_scale: float = 1.0) -> nn.Sequential:
    """Fold every batch norm of a network into the layer before it.

    Args:
        model: a chain of layers in eval mode; it is left as it was.
        input_scale: what the input is multiplied by before the first layer. It
            is folded in as well: with 1/255 the new network takes the bytes of
            an image where the old one took values in [0, 1].

    Returns:
        A new network in float64 and eval mode, without batch norms. Rounding it
        to float32 once is the caller's step.

    Raises:
        FoldError: any of the network is in train mode, a batch norm does not follow a
            convolution or linear layer, its statistics are no statistics, or
            there is no such layer at the front to take the input scale.
    """
    if any(module.training for module in model.modules()):
        raise FoldError(
            "the network is in train mode, where batch norm uses each batch's own statistics: "
            "call .eval() first"
        )
    layers: list[nn.Module] = []
    for name, layer in chain(model):
        if isinstance(layer, BatchNorm):
            _absorb(layers[-1] if layers else None, layer, name)
        else:
            layers.append(copy.deepcopy(layer).double())
    _scale_input(layers, input_scale)
    return nn.Sequential(*layers).eval()


def chain(model: nn.Sequential) -> Iterable[tuple[str, nn.Module]]:
    """List all layers in order with their names; named_children() leaves repeated ones out."""
    return model._modules.items()


def _absorb(before: nn.Module | None, norm: BatchNorm, name: str) -> None:
    """Put the batch norm called name into the float64 layer before it."""
    if not isinstance(before, nn.Conv2d | nn.Linear):
        found = f"a {type(before).__name__}" if before is not None else "nothing"
        raise FoldError(
            f"batch norm {name} follows {found}: it can be folded only into a Conv2d or Linear "
            "right before it"
        )
    _check_statistics(norm, name)
    weight, bias = fold_batch_norm(
        before.weight, before.bias, norm.gamma, norm.beta, norm.moving_mean, norm.moving_var, EPS
    )
    before.weight = nn.Parameter(weight.detach())
    before.bias = nn.Parameter(bias.detach())


def _check_statistics(norm: BatchNorm, name: str) -> None:
    for key, value in norm.state_dict().items():
        if not torch.isfinite(value).all():
            raise FoldError(
                f"batch norm {name} has a {key} that is not finite: the training diverged; "
                "train it again"
            )
    lowest = float(norm.moving_var.min())
    if lowest < 0:
        raise FoldError(
            f"batch norm {name} has a negative moving_var ({lowest:g}): no data has such a variance"
        )


def _scale_input(layers: list[nn.Module], input_scale: float) -> None:
    """Multiply the first layer's weights: W (c x) = (c W) x. Zero padding stays zero."""
    if input_scale == 1.0:
        return
    first = layers[0] if layers else None
    if not isinstance(first, nn.Conv2d | nn.Linear):
        raise FoldError(
            f"the network starts with {type(first).__name__}: an input scale can be folded only "
            "into a Conv2d or Linear"
        )
    first.weight = nn.Parameter(first.weight.detach() * input_scale)
