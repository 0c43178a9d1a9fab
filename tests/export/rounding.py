"""A bound of float32's error in each logit, from all roundings and their propagation.

Higham & Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019,
https://doi.org/10.1137/18M1226312: with unit roundoff u, and roundings that are
independent and as often up as down, a sum of n products in whatever order is
off by no more than

    lambda sqrt(n) u * (sum of the products' magnitudes)

but for a chance of 2 exp(-lambda^2 / 2) if every rounding were as large as it
can be; they are a good deal smaller. (The bound without chance has n for
sqrt(n), and every sign at its worst: a thousand times what is seen.)

An error d of a layer's output reaches a logit as (d logit / d output) d, to
first order, and independent errors add up in squares.
"""

import copy

import torch
from torch import Tensor, nn

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
LAMBDA = 2.0

# A sigmoid's own error in units: exp, a sum and a quotient, or a rational approximation.
SIGMOID = 8.0


def error_bound(folded: nn.Sequential, X: Tensor) -> Tensor:
    """Bound the float32 network's error against float64, for each logit.

    Args:
        folded: the network in float64; its float32 weights are these, rounded once.
        X: (N, 1, 28, 28) float64, bytes, which float32 holds exactly.

    Returns:
        (N, K) float64.
    """
    outputs, errors = [], []
    for layer in folded:
        Y = layer(X)
        outputs.append(Y)
        errors.append(_own_error(layer, X.detach(), Y.detach()))
        X = Y
    columns = []
    for logit in X.sum(dim=0):  # images do not mix, so the gradient of the sum is each image's
        gradients = torch.autograd.grad(logit, outputs, retain_graph=True)
        shares = [(g * e).square().flatten(1) for g, e in zip(gradients, errors, strict=True)]
        columns.append(torch.cat(shares, dim=1).sum(dim=1).sqrt())  # (N,)
    return torch.stack(columns, dim=1)  # (N, K)


def _own_error(layer: nn.Module, X: Tensor, Y: Tensor) -> Tensor:
    """Bound the effect of this layer's own roundings on its output, by element."""
    u = UNIT[torch.float32]
    if isinstance(layer, nn.Conv2d | nn.Linear):
        magnitudes = copy.deepcopy(layer).requires_grad_(False)
        magnitudes.weight.abs_()
        magnitudes.bias.abs_()
        n = layer.weight[0].numel() + 2  # the products, the bias, and the weight's own rounding
        return LAMBDA * n**0.5 * u * magnitudes(X.abs())
    if isinstance(layer, nn.Sigmoid):
        return torch.full_like(Y, SIGMOID * u)
    if isinstance(layer, nn.AvgPool2d):
        return LAMBDA * 2 * u * layer(X.abs())  # three sums and a quotient
    return torch.zeros_like(Y)  # Flatten moves numbers and rounds none
