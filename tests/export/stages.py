"""Random layers with batch norms around them, and the magnitudes that their outputs sum up."""

import copy
from dataclasses import dataclass

import hypothesis.strategies as st
import torch
from torch import Tensor, nn

from training.batch_norm import EPS, BatchNorm

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class InALoop(nn.Module):
    """The same layers as a plain module, which must be traced."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, X: Tensor) -> Tensor:
        for layer in self.layers:
            X = layer(X)
        return X


@dataclass
class Stage:
    """One layer with batch norms before and after it, in eval mode, and an input."""

    layers: nn.Sequential  # float64, flat
    X: Tensor  # (N, C, ...) float64
    wrapping: str

    @property
    def network(self) -> nn.Module:
        """The layers as they are, nested, or in a plain module."""
        if self.wrapping == "nested":
            return nn.Sequential(nn.Sequential(self.layers[:1]), self.layers[1:]).eval()
        return InALoop(self.layers).eval() if self.wrapping == "plain" else self.layers

    def magnitude(self) -> Tensor:
        """Each output's sum of magnitudes, to which rounding errors are relative.

        In float64 two ways of computing the same sum of n terms differ by at most
        2 n units of rounding of it (Higham, Accuracy and Stability, 2002, section 4.2),
        while relative to an output that cancels they may differ by any factor.
        """
        M = self.X.abs()
        for layer in self.layers:
            M = magnitude(layer, M)
        return M


def magnitude(layer: nn.Module, M: Tensor) -> Tensor:
    """The magnitudes that a layer's outputs sum, for inputs of magnitudes M."""
    if is_norm(layer):
        gamma, beta, mean, var, eps = statistics(layer)
        shape = (1, -1) + (1,) * (M.dim() - 2)
        scale, beta, mean = (
            t.abs().reshape(shape) for t in (gamma / torch.sqrt(var + eps), beta, mean)
        )
        return scale * (M + mean) + beta
    absolute = copy.deepcopy(layer).requires_grad_(False)
    for parameter in absolute.parameters():
        parameter.abs_()
    return absolute(M)


def is_norm(layer: nn.Module) -> bool:
    return isinstance(layer, BatchNorm | nn.modules.batchnorm._BatchNorm)


def statistics(norm: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """gamma, beta, mean, var, each (C,), and eps."""
    if isinstance(norm, BatchNorm):
        own = norm.gamma.detach(), norm.beta.detach(), norm.moving_mean, norm.moving_var
        return *(t.flatten() for t in own), EPS
    mean, var = norm.running_mean, norm.running_var
    if norm.weight is None:
        return torch.ones_like(mean), torch.zeros_like(mean), mean, var, norm.eps
    return norm.weight.detach(), norm.bias.detach(), mean, var, norm.eps


@st.composite
def stages(draw: st.DrawFn, orders: tuple[float, ...] = (0.5, 3.0, 6.0)) -> Stage:
    """Draw the layers' kinds and shapes; a seed draws their numbers.

    Args:
        draw: hypothesis's.
        orders: gamma, beta, mean and deviation lie within so many orders of magnitude of 1.
    """
    dims = draw(st.integers(0, 3))
    transposed = dims > 0 and draw(st.booleans())
    before = 0 if transposed else draw(st.integers(0, 2))
    after = draw(st.integers(0 if before else 1, 2))
    groups = draw(st.integers(1, 3)) if dims else 1
    C = groups * draw(st.integers(1, 3 if dims else 20))
    F = groups * draw(st.integers(1, 3))  # groups = C = F is a depthwise convolution
    bias = draw(st.booleans())
    flatten = dims == 0 and before > 0 and draw(st.booleans())
    if dims:
        layer, size = _convolution(draw, dims, transposed, before > 0, (C, F, groups, bias))
    else:
        size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if flatten else ()
        layer = nn.Linear(C * torch.Size(size).numel(), F, bias)
    X_dims = 2 if flatten else dims
    layers = nn.Sequential(
        *(_norm(draw, C, X_dims) for _ in range(before)),
        *([nn.Flatten()] if flatten else []),
        layer,
        *(_norm(draw, F, dims) for _ in range(after)),
    )
    layers = layers.double().eval()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    _fill(layers, draw(st.sampled_from(orders)), draw(st.booleans()), generator)
    X = torch.randn(draw(st.integers(1, 3)), C, *size, generator=generator, dtype=torch.float64)
    return Stage(layers, X, draw(st.sampled_from(["flat", "nested", "plain"])))


def _convolution(
    draw: st.DrawFn,
    dims: int,
    transposed: bool,
    unpadded: bool,
    channels: tuple[int, int, int, bool],
) -> tuple[nn.Module, list[int]]:
    """Draw a convolution and the size of an input that is large enough for it."""
    C, F, groups, bias = channels

    def each(lowest: int, highest: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(lowest, highest)) for _ in range(dims))

    kernel, stride, dilation = each(1, 3 if dims < 3 else 2), each(1, 2), each(1, 2)
    extents = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, 0 if unpadded else extent // 2)) for extent in extents)
    settings = {"dilation": dilation, "groups": groups, "bias": bias, "padding": padding}
    if transposed:
        more = tuple(draw(st.integers(0, s - 1)) for s in stride)
        layer = TRANSPOSED[dims](C, F, kernel, stride, output_padding=more, **settings)
    else:
        mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        layer = CONVOLUTIONS[dims](C, F, kernel, stride, padding_mode=mode, **settings)
    return layer, [extent + more for extent, more in zip(extents, each(1, 3), strict=True)]


def _norm(draw: st.DrawFn, channels: int, dims: int) -> nn.Module:
    kind = draw(st.sampled_from(["ours", "torch", "sync"]))
    if kind == "ours" and dims in (0, 2):
        return BatchNorm(channels, num_dims=dims + 2)
    settings = {
        "affine": draw(st.booleans()),
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
    }
    return (nn.SyncBatchNorm if kind == "sync" else NORMS[dims])(channels, **settings)


def _fill(
    layers: nn.Sequential, orders: float, constant_channel: bool, generator: torch.Generator
) -> None:
    """Random numbers for all that a network has."""

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    def spread(like: Tensor, orders: float) -> Tensor:
        exponent = torch.rand(like.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return 10 ** (orders * exponent)

    with torch.no_grad():
        for layer in layers:
            for key, value in layer.state_dict().items():
                if key.endswith("var"):
                    value.copy_(spread(value, 2 * orders))
                    if constant_channel:  # only eps keeps its scale finite
                        value.flatten()[0] = 0.0
                elif value.is_floating_point():
                    value.copy_(normal(value) * spread(value, orders if is_norm(layer) else 0.0))
