"""Folding is algebra: in float64 the folded layer is the layer and its batch norm."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

from export.errors import FoldError
from export.export import BYTE
from export.fold import fold, fold_batch_norm
from tests.export.networks import assert_untouched, random_network, state
from tests.export.rounding import UNIT, error_bound
from training.batch_norm import EPS, MOMENTUM, BatchNorm, batch_norm
from training.lenet import lenet_bn

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


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_a_folded_layer_is_the_layer_and_its_batch_norm(case: Case) -> None:
    assert_folds(fold_batch_norm, case)


@settings(max_examples=60, deadline=None)
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


def test_every_folded_layer_of_lenet_is_its_batch_norms_output(
    network: nn.Sequential, images: Tensor
) -> None:
    network.double()
    folded = fold(network, BYTE)
    kinds = [type(layer) for layer in network if not isinstance(layer, BatchNorm)]
    assert [type(layer) for layer in folded] == kinds
    X, Y = images[:64].double() / 255, images[:64].double()  # (N, 1, 28, 28) both
    rest = iter(folded)
    compared = 0
    with torch.no_grad():
        for position, layer in enumerate(network):
            X = layer(X)
            if not isinstance(layer, BatchNorm):
                Y = next(rest)(Y)
            followed = position + 1 < len(network) and isinstance(network[position + 1], BatchNorm)
            if not followed:
                # Statistics 32 deviations off cancel: a hundred roundings of numbers up to 100.
                torch.testing.assert_close(Y, X, rtol=0, atol=1e-10)
                compared += isinstance(layer, BatchNorm)
    assert compared == 4
    assert next(rest, None) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_network_folds(seed: int, images: Tensor) -> None:
    network = random_network(images, seed)
    before = state(network)
    folded = fold(network)
    assert_untouched(network, before)
    with torch.no_grad():
        expected = network.double()(images.double() / 255)  # (N, K)
        torch.testing.assert_close(folded(images.double() / 255), expected, rtol=0, atol=1e-10)


def test_the_result_is_a_float64_network_in_eval_mode_with_no_batch_norm_and_no_shared_memory(
    network: nn.Sequential,
) -> None:
    before = state(network)
    folded = fold(network, BYTE)
    assert not any(isinstance(module, BatchNorm) for module in folded.modules())
    assert not any(module.training for module in folded.modules())
    assert {value.dtype for value in folded.state_dict().values()} == {torch.float64}
    assert sum(parameter.numel() for parameter in folded.parameters()) == 44_426
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert_untouched(network, before)


@pytest.mark.parametrize(
    "mutate",
    [
        lambda model: model[1].moving_mean.zero_(),
        lambda model: model[5].beta.zero_(),
        lambda model: model[10].moving_var.mul_(1.001),
        lambda model: model[13].gamma.mul_(1.001),
        lambda model: model[15].bias.add_(1e-6),
    ],
)
def test_the_whole_network_test_can_fail(
    network: nn.Sequential, images: Tensor, mutate: Callable[[nn.Sequential], Tensor]
) -> None:
    with torch.no_grad():
        expected = network.double()(images.double() / 255)
        mutate(network)
        found = fold(network)(images.double() / 255)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_wrong_eps_is_seen(
    network: nn.Sequential, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.fold.EPS", 0.0)
    with torch.no_grad():
        found = fold(network)(images.double() / 255)
        expected = network.double()(images.double() / 255)
    assert (found - expected).abs().max() > 1e-6


def test_chains_of_batch_norms_fold_into_one_layer() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False),
        BatchNorm(3, num_dims=4),
        BatchNorm(3, num_dims=4),
        nn.Flatten(),
        nn.Linear(48, 5),
        *(BatchNorm(5, num_dims=2) for _ in range(3)),
    )
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    network.double().eval()
    folded = fold(network)
    assert [type(layer) for layer in folded] == [nn.Conv2d, nn.Flatten, nn.Linear]
    X = torch.randn(7, 2, 4, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(folded(X), network(X), rtol=1e-12, atol=1e-12)


def test_a_layer_that_stands_in_two_places_is_folded_in_both() -> None:
    linear, sigmoid = nn.Linear(4, 4), nn.Sigmoid()
    norms = [BatchNorm(4, num_dims=2) for _ in range(2)]
    network = nn.Sequential(linear, norms[0], sigmoid, linear, norms[1], sigmoid)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    network.double().eval()
    folded = fold(network)
    X = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    assert len(folded) == 4
    torch.testing.assert_close(folded(X), network(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1 / 255, 3.0, -1.0])
@pytest.mark.parametrize("padding", [0, 2])
def test_the_input_scale_goes_into_the_first_layer(scale: float, padding: int) -> None:
    generator = torch.Generator().manual_seed(6)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=padding), nn.Sigmoid()).double().eval()
    before = state(network)
    X = torch.randint(256, (3, 1, 6, 6), generator=generator).double()
    expected = network(scale * X)
    torch.testing.assert_close(fold(network, scale)(X), expected, rtol=1e-12, atol=1e-12)
    assert_untouched(network, before)


def network_of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (
            network_of(BatchNorm(3, num_dims=4), nn.Conv2d(3, 3, 1)),
            "batch norm 0 follows nothing: it can be folded only into a Conv2d or Linear right "
            "before it",
        ),
        (
            network_of(nn.Linear(3, 3), nn.Sigmoid(), BatchNorm(3, num_dims=2)),
            "batch norm 2 follows a Sigmoid: it can be folded only",
        ),
        (
            nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), norm=BatchNorm(3, num_dims=4))).eval(),
            "batch norm norm follows a AvgPool2d",
        ),
    ],
)
def test_a_batch_norm_with_no_layer_to_go_into_is_refused_by_name(
    network: nn.Sequential, text: str
) -> None:
    before = state(network)
    with pytest.raises(FoldError) as caught:
        fold(network)
    assert text in str(caught.value)
    assert_untouched(network, before)


def test_an_input_scale_needs_a_layer_at_the_front() -> None:
    with pytest.raises(FoldError, match="the network starts with Sigmoid: an input scale can be"):
        fold(network_of(nn.Sigmoid(), nn.Linear(3, 3)), BYTE)


def test_train_mode_is_refused() -> None:
    with pytest.raises(FoldError, match=r"the network is in train mode.*call \.eval\(\) first"):
        fold(lenet_bn())


def test_one_layer_in_train_mode_is_enough_to_refuse(network: nn.Sequential) -> None:
    network[5].train()
    with pytest.raises(FoldError, match="the network is in train mode"):
        fold(network)


@pytest.mark.parametrize("position", ["1", "5", "10", "13"])
@pytest.mark.parametrize("key", ["gamma", "beta", "moving_mean", "moving_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_by_layer_and_name(
    position: str, key: str, value: float
) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"{position}.{key}"].flatten()[-1] = value
    with pytest.raises(FoldError) as caught:
        fold(network)
    assert f"batch norm {position} has a {key} that is not finite" in str(caught.value)


@pytest.mark.parametrize("position", ["1", "5", "10", "13"])
def test_a_negative_variance_is_refused_by_layer_and_value(position: str) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"{position}.moving_var"].flatten()[0] = -0.25
    with pytest.raises(FoldError) as caught:
        fold(network)
    assert f"batch norm {position} has a negative moving_var (-0.25)" in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_float32_is_off_by_no_more_than_its_roundings_add_up_to(seed: int, images: Tensor) -> None:
    folded = fold(random_network(images, seed), BYTE)
    X = images[:100].double()  # (N, 1, 28, 28)
    bound = error_bound(folded, X)  # (N, K)
    assert bound.max() < 1e-4

    def error(network: nn.Sequential) -> Tensor:
        with torch.no_grad():
            return (network(X.float()).double() - folded(X)).abs()  # (N, K)

    assert (error(copy.deepcopy(folded).float()) <= bound).all()
    # Half the digits in the weights, or a fold that is a little wrong, is more than rounding.
    assert (error(copy.deepcopy(folded).half().float()) > bound).any()
    off = copy.deepcopy(folded).float()
    with torch.no_grad():
        off[3].weight.mul_(1 + 1e-4)
    assert (error(off) > bound).any()
