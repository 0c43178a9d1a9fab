"""Absorption is exact: in float64 the new layer equals the layer and its batch norm."""

from collections.abc import Callable
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional

from export.folding.absorption import fold_batch_norm
from tests.export.rounding import UNIT
from training.batch_norm import EPS, MOMENTUM, batch_norm

Fold = Callable[..., tuple[Tensor, Tensor]]


@dataclass
class Case:
    """A layer, what its batch norm holds, and an input."""

    X: Tensor  # (N, C, H, W) or (N, D)
    weight: Tensor  # (F, C / groups, kH, kW) or (F, D)
    bias: Tensor | None  # (F,)
    gamma: Tensor  # (1, F, 1, 1) or (1, F), as are the next three
    beta: Tensor
    mean: Tensor
    var: Tensor
    convolution: dict[str, int]

    def layer(self, X: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.dim() == 4:
            return functional.conv2d(X, weight, bias, **self.convolution)
        return functional.linear(X, weight, bias)

    def arguments(self) -> tuple[Tensor | None, ...]:
        return self.weight, self.bias, self.gamma, self.beta, self.mean, self.var

    def expected(self) -> Tensor:
        """The layer, then batch norm in eval mode."""
        Y = self.layer(self.X, self.weight, self.bias)  # (N, F) or (N, F, H', W')
        rest = self.gamma, self.beta, self.mean, self.var, EPS, MOMENTUM
        return batch_norm(Y, *rest, training=False)[0]

    def rounding(self) -> Tensor:
        """How far apart two ways of computing the same may be in float64, by element.

        A sum of n products is off by at most n units of rounding times the sum
        of their magnitudes, in whatever order. Both ways are such a sum: over
        the layer's n products, then bias, mean and beta, with some ten more
        roundings in the scale and the products; each way may be that far off.
        """
        scale = self.gamma.abs() / torch.sqrt(self.var + EPS)  # (1, F) or (1, F, 1, 1)
        sums = self.layer(self.X.abs(), self.weight.abs(), None)  # (N, F) or (N, F, H', W')
        if self.bias is not None:
            sums = sums + self.bias.abs().reshape(self.mean.shape)
        magnitude = scale * (sums + self.mean.abs()) + self.beta.abs()
        return 2 * (self.weight[0].numel() + 12) * UNIT[torch.float64] * magnitude


@st.composite
def cases(draw: st.DrawFn) -> Case:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))

    def normal(shape: tuple[int, ...], spread: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * spread

    def spread_over(shape: tuple[int, ...], orders: float) -> Tensor:
        """Magnitudes from 10^-orders to 10^orders, side by side in one layer."""
        exponent = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
        return 10 ** (orders * exponent)

    N, F = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    groups, convolution = 1, {}
    if draw(st.booleans()):
        groups = draw(st.integers(1, 2))
        F *= groups
        C, kernel = draw(st.integers(1, 3)), draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        shape = (F, C, *kernel)
        convolution = {
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, 2)),
            "groups": groups,
        }
        X = normal((N, C * groups, draw(st.integers(4, 7)), draw(st.integers(4, 7))))
    else:
        shape = (F, draw(st.integers(1, 40)))
        X = normal((N, shape[1]))
    statistics = (1, F) + (1,) * (len(shape) - 2)
    orders = draw(st.sampled_from([0.5, 3.0, 6.0]))
    var = spread_over(statistics, 2 * orders)
    if draw(st.booleans()):
        var[0, 0] = 0.0  # a channel that never varied: only eps keeps it finite
    return Case(
        X=X,
        weight=normal(shape),
        bias=normal((F,)) if draw(st.booleans()) else None,
        gamma=normal(statistics) * spread_over(statistics, orders),
        beta=normal(statistics) * spread_over(statistics, orders),
        mean=normal(statistics) * spread_over(statistics, orders),
        var=var,
        convolution=convolution,
    )


def assert_folds(fold_one: Fold, case: Case) -> None:
    weight, bias = fold_one(*case.arguments(), EPS)
    assert weight.shape == case.weight.shape
    assert bias.shape == case.weight.shape[:1]
    error = (case.layer(case.X, weight, bias) - case.expected()).abs()
    assert (error <= case.rounding()).all(), f"off by {float((error / case.rounding()).max())}"


@settings(max_examples=150)
@given(case=cases())
def test_a_folded_layer_is_the_layer_and_its_batch_norm(case: Case) -> None:
    assert_folds(fold_batch_norm, case)


@settings(max_examples=60)
@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_the_result_is_float64_and_the_arguments_are_left_alone(
    case: Case, dtype: torch.dtype
) -> None:
    arguments = [None if t is None else t.to(dtype) for t in case.arguments()]
    before = [None if t is None else t.clone() for t in arguments]
    weight, bias = fold_batch_norm(*arguments, EPS)
    assert weight.dtype == bias.dtype == torch.float64
    weight.mul_(2)
    bias.add_(1)  # the result shares no memory with the arguments either
    for argument, old in zip(arguments, before, strict=True):
        if argument is not None:
            assert argument.dtype == dtype
            assert torch.equal(argument, old)


def test_float32_arguments_are_not_rounded_on_the_way() -> None:
    generator = torch.Generator().manual_seed(3)
    weight, bias, gamma, beta, mean, var = (
        torch.rand(shape, generator=generator) + 0.5 for shape in ((4, 9), *[(4,)] * 5)
    )
    arguments = weight, bias, gamma, beta, mean, var
    exact = fold_batch_norm(*(t.double() for t in arguments), EPS)
    for found, expected in zip(fold_batch_norm(*arguments, EPS), exact, strict=True):
        assert torch.equal(found, expected)


def _drop_eps(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, beta, mean, var, 0.0)


def _torchs_other_eps(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, beta, mean, var, 1.1 * eps)


def _drop_mean(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, beta, torch.zeros_like(mean), var, eps)


def _drop_beta(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, torch.zeros_like(beta), mean, var, eps)


def _drop_gamma(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, torch.ones_like(gamma), beta, mean, var, eps)


def _drop_bias(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, None, gamma, beta, mean, var, eps)


def _no_root(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, beta, mean, var.square(), eps)


def _eps_outside_the_root(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    return fold_batch_norm(weight, bias, gamma, beta, mean, (var.sqrt() + eps).square(), 0.0)


def _scale_inputs_not_outputs(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    scale = (gamma / torch.sqrt(var + eps)).flatten()
    return weight * scale, fold_batch_norm(weight, bias, gamma, beta, mean, var, eps)[1]


def _in_float32(weight, bias, gamma, beta, mean, var, eps):  # type: ignore[no-untyped-def]
    weight, bias = fold_batch_norm(weight, bias, gamma, beta, mean, var, eps)
    return weight.float().double(), bias


@pytest.mark.parametrize(
    "mutant",
    [
        _drop_eps,
        _torchs_other_eps,
        _drop_mean,
        _drop_beta,
        _drop_gamma,
        _drop_bias,
        _no_root,
        _eps_outside_the_root,
        _scale_inputs_not_outputs,
        _in_float32,
    ],
)
def test_the_property_can_fail(mutant: Fold) -> None:
    generator = torch.Generator().manual_seed(2)
    X, weight, bias, gamma, beta, mean, var = (
        torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5
        for shape in ((3, 4), (4, 4), (4,), *[(1, 4)] * 4)
    )
    case = Case(X, weight, bias, gamma, beta, mean, var, {})
    assert_folds(fold_batch_norm, case)
    with pytest.raises(AssertionError, match="off by"):
        assert_folds(mutant, case)
