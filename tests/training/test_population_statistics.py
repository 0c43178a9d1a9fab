"""Population statistics compared with an independent computation."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from export.folding.tracing import has_hooks
from training.batch_norm import BatchNorm
from training.data.dataset import Split
from training.data.pixels import to_float
from training.networks.lenet import lenet_bn
from training.networks.resnet import resnet_bn
from training.population_statistics import PopulationStatistics, with_population_statistics


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    maps=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_uneven_batches_add_up_to_the_whole(sizes: list[int], maps: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(sizes), 3, 2, 5) if maps else (sum(sizes), 3)
    X = torch.randn(shape, generator=generator, dtype=torch.float64) * 4 + 7
    found = PopulationStatistics()
    for batch in torch.split(X, sizes):
        found.add(batch)
    axes = (0, 2, 3) if maps else (0,)
    torch.testing.assert_close(found.mean, X.mean(axes, keepdim=True), rtol=1e-12, atol=1e-12)
    expected = X.var(axes, correction=0, keepdim=True)
    torch.testing.assert_close(found.var, expected, rtol=1e-12, atol=1e-12)


def test_a_small_variance_far_from_zero_is_not_cancelled() -> None:
    """At mean 100 and variance 1e-4, E[x^2] - E[x]^2 in float32 goes negative."""
    generator = torch.Generator().manual_seed(0)
    X = (100 + 0.01 * torch.randn(4096, 2, generator=generator)).to(torch.float32)
    naive = X.square().mean(0) - X.mean(0).square()
    found = PopulationStatistics()
    for batch in torch.split(X, 100):
        found.add(batch)
    truth = X.double().var(0, correction=0, keepdim=True)
    torch.testing.assert_close(found.var, truth, rtol=1e-9, atol=0)
    assert ((naive - truth).abs() > truth).any(), "the naive formula would have done as well"


@pytest.fixture
def learned(real: Split) -> torch.nn.Sequential:
    """A network whose moving statistics do not fit its data."""
    torch.manual_seed(0)
    model = lenet_bn()
    for batch in torch.split(real.images[:256], 64):
        model(to_float(batch))
    return model


def test_one_batch_of_everything_is_the_definition(
    learned: torch.nn.Sequential, real: Split
) -> None:
    images = real.images[:300]
    found = with_population_statistics(learned, images, batch_size=300)
    X = to_float(images).double()
    learned.double().train()
    for layer, result in zip(learned, found, strict=True):
        if isinstance(layer, BatchNorm):
            axes = [axis for axis in range(X.dim()) if axis != 1]
            var, mean = torch.var_mean(X, axes, correction=0, keepdim=True)
            # The forward pass itself is in float32: a handful of roundings of 2^-24.
            torch.testing.assert_close(result.moving_mean.double(), mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(result.moving_var.double(), var, rtol=1e-4, atol=1e-6)
        X = layer(X)


def test_the_model_is_left_as_it_was(learned: torch.nn.Sequential, real: Split) -> None:
    before = {key: value.clone() for key, value in learned.state_dict().items()}
    found = with_population_statistics(learned, real.images[:100], batch_size=30)
    for key, value in learned.state_dict().items():
        assert torch.equal(value, before[key])
    assert learned.training
    assert not found.training
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, before[name])
    assert {value.dtype for value in found.state_dict().values()} == {torch.float32}


def test_no_hook_stays_behind(learned: torch.nn.Sequential, real: Split) -> None:
    found = with_population_statistics(learned, real.images[:100], batch_size=50)
    assert not any(has_hooks(layer) for layer in (*found, *learned))


def test_batches_of_one_size_or_another_agree_nearly(
    learned: torch.nn.Sequential, real: Split
) -> None:
    images = real.images[:1000]
    small, large = (with_population_statistics(learned, images, size) for size in (250, 1000))
    for (key, a), (_, b) in zip(small.named_buffers(), large.named_buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05, msg=key)


def test_batch_norms_within_blocks_are_measured_too(real: Split) -> None:
    torch.manual_seed(0)
    found = with_population_statistics(resnet_bn(), real.images[:100], batch_size=50)
    norms = [layer for layer in found.modules() if isinstance(layer, BatchNorm)]
    assert len(norms) == 9
    assert all((norm.moving_var != 1).all() for norm in norms)
