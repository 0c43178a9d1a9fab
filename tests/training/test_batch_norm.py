"""The from-scratch batch norm compared with torch's, and with its definition."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from training import batch_norm as module
from training.batch_norm import EPS, MOMENTUM, BatchNorm, batch_norm

# Algebra is proved in float64; float32's rounding is another test.
TOLERANCE = 1e-10


@st.composite
def cases(draw: st.DrawFn, smallest_batch: int = 2) -> tuple[Tensor, BatchNorm, nn.Module]:
    """An input, our layer, and torch's with the same random parameters and statistics."""
    N = draw(st.integers(smallest_batch, 9))
    C = draw(st.integers(1, 7))
    pixels = draw(st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5)))
    shape = (N, C) if pixels is None else (N, C, *pixels)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, 1.0, -100.0]))
    X = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + offset
    ours = BatchNorm(C, num_dims=len(shape)).double()
    kind = nn.BatchNorm1d if pixels is None else nn.BatchNorm2d
    # torch's momentum is the share of the new batch, ours that of the past.
    theirs = kind(C, eps=EPS, momentum=1 - MOMENTUM).double()
    set_same_values(ours, theirs, generator)
    return X, ours, theirs


def set_same_values(ours: BatchNorm, theirs: nn.Module, generator: torch.Generator) -> None:
    pairs = (
        (ours.gamma, theirs.weight),
        (ours.beta, theirs.bias),
        (ours.moving_mean, theirs.running_mean),
        (ours.moving_var, theirs.running_var),
    )
    with torch.no_grad():
        for mine, yours in pairs:
            value = torch.rand(yours.shape, generator=generator, dtype=torch.float64) + 0.5
            yours.copy_(value)
            mine.copy_(value.reshape(mine.shape))


def forward_and_backward(layer: nn.Module, X: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and input gradient of a loss in which every output counts differently."""
    X = X.clone().requires_grad_()
    Y = layer(X)
    weights = torch.linspace(-1, 2, Y.numel(), dtype=Y.dtype).reshape(Y.shape)
    (Y * weights).sum().backward()
    assert X.grad is not None
    return Y.detach(), X.grad


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours.flatten(), theirs.flatten(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@settings(max_examples=60)
@given(case=cases())
def test_outputs_and_gradients_are_torchs(
    training: bool, case: tuple[Tensor, BatchNorm, nn.Module]
) -> None:
    X, ours, theirs = case
    ours.train(training)
    theirs.train(training)
    Y, X_grad = forward_and_backward(ours, X)
    Y_torch, X_grad_torch = forward_and_backward(theirs, X)
    assert_same(Y, Y_torch)
    # A variance near zero multiplies rounding by up to 1 / sqrt(eps), cubed in the gradient.
    assert_same(X_grad, X_grad_torch, 1e-7)
    assert_same(ours.gamma.grad, theirs.weight.grad, 1e-8)
    assert_same(ours.beta.grad, theirs.bias.grad)


@settings(max_examples=60)
@given(case=cases())
def test_moving_statistics_are_torchs_but_for_its_unbiased_variance(
    case: tuple[Tensor, BatchNorm, nn.Module],
) -> None:
    X, ours, theirs = case
    old_var = ours.moving_var.clone()
    ours(X)
    theirs(X)
    assert_same(ours.moving_mean, theirs.running_mean)
    n = X.numel() // X.shape[1]
    if n == 1:  # torch divides by n - 1
        return
    batch_var = (ours.moving_var - MOMENTUM * old_var) / (1 - MOMENTUM)
    unbiased = MOMENTUM * old_var + (1 - MOMENTUM) * batch_var * n / (n - 1)
    assert_same(unbiased, theirs.running_var, 1e-9)


@settings(max_examples=30)
@given(case=cases())
def test_the_mode_is_the_modules_own_whether_gradients_are_on_or_off(
    case: tuple[Tensor, BatchNorm, nn.Module],
) -> None:
    X, layer, _ = case
    before = layer.moving_mean.clone(), layer.moving_var.clone()
    layer.eval()
    with_gradients = layer(X)
    with torch.no_grad():
        without = layer(X)
    assert with_gradients.requires_grad
    assert torch.equal(with_gradients, without)
    assert torch.equal(layer.moving_mean, before[0])
    assert torch.equal(layer.moving_var, before[1])
    expected = layer.gamma * (X - before[0]) / torch.sqrt(before[1] + EPS) + layer.beta
    assert_same(without, expected.detach())

    layer.train()
    with torch.no_grad():
        under_no_grad = layer(X)
        moved = layer.moving_mean.clone(), layer.moving_var.clone()
        layer.moving_mean, layer.moving_var = before
    assert torch.equal(layer(X), under_no_grad)
    assert torch.equal(layer.moving_mean, moved[0])
    assert torch.equal(layer.moving_var, moved[1])


@settings(max_examples=30)
@given(case=cases())
def test_training_output_has_mean_beta_and_deviation_gamma(
    case: tuple[Tensor, BatchNorm, nn.Module],
) -> None:
    X, layer, _ = case
    axes = [axis for axis in range(X.dim()) if axis != 1]
    var, mean = torch.var_mean(layer(X), axes, correction=0, keepdim=True)
    input_var = torch.var(X, axes, correction=0, keepdim=True)
    assert_same(mean, layer.beta, 1e-9)
    assert_same(var, layer.gamma.square() * input_var / (input_var + EPS), 1e-9)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_modified_in_place(shape: tuple[int, ...], training: bool) -> None:
    X = torch.randn(shape)
    statistics_shape = (1, 3) + (1,) * (len(shape) - 2)
    arguments = [X, *(torch.rand(statistics_shape) + 0.5 for _ in range(4))]
    before = [value.clone() for value in arguments]
    batch_norm(*arguments, eps=EPS, momentum=MOMENTUM, training=training)
    for value, old in zip(arguments, before, strict=True):
        assert torch.equal(value, old)


@pytest.mark.parametrize("shape", [(6, 3), (3, 2, 4, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_the_functions_own_slopes(shape: tuple[int, ...], training: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    statistics_shape = (1, shape[1]) + (1,) * (len(shape) - 2)
    X = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    gamma, beta, mean, var = (
        torch.rand(statistics_shape, generator=generator, dtype=torch.float64) + 0.5
        for _ in range(4)
    )

    def output(X: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return batch_norm(X, gamma, beta, mean, var, EPS, MOMENTUM, training)[0]

    inputs = (X, gamma.requires_grad_(), beta.requires_grad_())
    assert torch.autograd.gradcheck(output, inputs, atol=1e-7)


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    X = torch.randn(8, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(BatchNorm(3, 2)(X).pow(3).sum(), X, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_moving_statistics_carry_no_gradient() -> None:
    layer = BatchNorm(3, num_dims=2)
    X = torch.randn(8, 3, requires_grad=True)
    for _ in range(3):  # a graph kept alive through the buffers would grow from step to step
        layer(X).sum().backward()
    assert not layer.moving_mean.requires_grad
    assert not layer.moving_var.requires_grad


def test_float32_is_as_near_to_float64_as_rounding_allows() -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(256, 6, 24, 24, generator=generator, dtype=torch.float64) * 2 + 3
    layer = BatchNorm(6, num_dims=4)
    exact = BatchNorm(6, num_dims=4).double()(X)
    # |x_hat| < 6; a handful of roundings of 2^-24 relative each, on x - mean with |x| < 13.
    assert (layer(X.float()) - exact).abs().max() < 13 * 8 * 2**-24


def test_starts_as_the_identity_on_standardised_inputs() -> None:
    layer = BatchNorm(4, num_dims=4)
    assert layer.gamma.shape == layer.moving_mean.shape == (1, 4, 1, 1)
    assert torch.equal(layer.moving_mean, torch.zeros(1, 4, 1, 1))
    assert torch.equal(layer.moving_var, torch.ones(1, 4, 1, 1))
    X = torch.randn(5, 4, 3, 3)
    torch.testing.assert_close(layer.eval()(X), X, rtol=1e-5, atol=1e-5)


def test_statistics_are_buffers_that_move_and_are_saved_and_never_trained() -> None:
    layer = BatchNorm(3, num_dims=2)
    assert {name for name, _ in layer.named_parameters()} == {"gamma", "beta"}
    assert list(layer.state_dict()) == ["gamma", "beta", "moving_mean", "moving_var"]
    assert layer.double().moving_var.dtype == torch.float64
    layer(torch.randn(4, 3, dtype=torch.float64))
    assert dict(layer.named_buffers())["moving_mean"] is layer.moving_mean


def test_half_precision_inputs_are_averaged_in_the_parameters_precision() -> None:
    X = (torch.randn(512, 3) + 200).to(torch.bfloat16)  # bfloat16 has 8 bits: 200 +- 1
    layer = BatchNorm(3, num_dims=2)
    Y = layer(X)
    assert Y.dtype == torch.float32
    assert Y.mean(0).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (2, 3, 4, 5, 6)])
def test_other_ranks_are_refused_by_shape(shape: tuple[int, ...]) -> None:
    one = torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"not a tensor of shape \(") as caught:
        batch_norm(torch.zeros(shape), one, one, one, one, EPS, MOMENTUM, training=True)
    assert str(tuple(shape)) in str(caught.value)


@pytest.mark.parametrize(
    ("num_dims", "shape", "expected"),
    [
        (2, (5, 3, 4, 4), "(N, 3)"),
        (4, (5, 3), "(N, 3, H, W)"),
        (2, (5, 4), "(N, 3)"),
        (2, (5, 1), "(N, 3)"),
        (4, (5, 1, 4, 4), "(N, 3, H, W)"),
    ],
)
def test_a_layer_refuses_what_would_only_broadcast(
    num_dims: int, shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(ValueError, match="this BatchNorm takes") as caught:
        BatchNorm(3, num_dims)(torch.zeros(shape))
    assert expected in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("num_dims", [0, 1, 3, 5])
def test_other_num_dims_are_refused(num_dims: int) -> None:
    with pytest.raises(ValueError, match=f"num_dims is {num_dims}: it must be 2"):
        BatchNorm(3, num_dims)


def _drop_eps(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    return batch_norm(X, gamma, beta, mean, var, 0.0, momentum, training)


def _drop_mean(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    Y, *moved = batch_norm(X, gamma, beta, mean, var, eps, momentum, training)
    return Y + gamma * X.mean() / torch.sqrt(var + eps), *moved


def _drop_gamma(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    return batch_norm(X, torch.ones_like(gamma), beta, mean, var, eps, momentum, training)


def _swap_momentum(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    return batch_norm(X, gamma, beta, mean, var, eps, 1 - momentum, training)


def _constant_statistics(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    _, *moved = batch_norm(X, gamma, beta, mean, var, eps, momentum, training)
    return batch_norm(
        X, gamma, beta, X.mean(0).detach(), X.var(0, correction=0).detach(), eps, 0, False
    )[0], *moved


def _unbiased(X, gamma, beta, mean, var, eps, momentum, training):  # type: ignore[no-untyped-def]
    n = X.numel() / X.shape[1]
    Y, mean, var = batch_norm(X, gamma, beta, mean, var, eps, momentum, training)
    return (Y - beta) * ((n - 1) / n) ** 0.5 + beta, mean, var


@pytest.mark.parametrize(
    "mutant", [_drop_eps, _drop_mean, _drop_gamma, _swap_momentum, _unbiased, _constant_statistics]
)
def test_the_tests_above_can_fail(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., object]
) -> None:
    """A wrong batch norm must not pass for torch's."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(9, 4, generator=generator, dtype=torch.float64) * 0.1 + 1
    ours, theirs = BatchNorm(4, 2).double(), nn.BatchNorm1d(4, momentum=1 - MOMENTUM).double()
    set_same_values(ours, theirs, generator)
    check(ours, theirs, X)
    monkeypatch.setattr(module, "batch_norm", mutant)
    with pytest.raises(AssertionError, match="not close"):
        check(ours, theirs, X)


def check(ours: BatchNorm, theirs: nn.Module, X: Tensor) -> None:
    for mine, yours in zip(
        forward_and_backward(ours, X), forward_and_backward(theirs, X), strict=True
    ):
        assert_same(mine, yours, 1e-8)
    assert_same(ours.moving_mean, theirs.running_mean)


def test_momentum_and_eps_are_the_notebooks() -> None:
    layer = BatchNorm(1, num_dims=2)
    layer(torch.tensor([[2.0], [6.0]]))
    assert layer.moving_mean.item() == pytest.approx(0.9 * 0 + 0.1 * 4)
    assert layer.moving_var.item() == pytest.approx(0.9 * 1 + 0.1 * 4)
    layer.moving_mean.zero_()
    layer.moving_var.zero_()
    assert layer.eval()(torch.tensor([[1.0]])).item() == pytest.approx(1 / 1e-5**0.5)
