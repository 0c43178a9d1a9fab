"""Folding takes every batch norm out of a network, or says by name why it cannot."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from export.folding.fold import fold
from export.folding.normalization import Normalization
from tests.export.mutants import fold_unchecked
from tests.export.networks import (
    assert_untouched,
    folded_layers,
    random_network,
    state,
)
from tests.export.rounding import error_bound
from training.batch_norm import BatchNorm

EXAMPLE = torch.zeros(2, 1, 28, 28)


def test_every_folded_layer_of_lenet_is_its_batch_norms_output(
    network: nn.Sequential, images: Tensor
) -> None:
    network.double()
    folded = folded_layers(network)
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
    folded = fold(network, EXAMPLE)
    assert_untouched(network, before)
    with torch.no_grad():
        expected = network.double()(images.double() / 255)  # (N, K)
        torch.testing.assert_close(folded(images.double() / 255), expected, rtol=0, atol=1e-10)


def test_the_result_is_a_float64_network_in_eval_mode_with_no_batch_norm_and_no_shared_memory(
    network: nn.Sequential,
) -> None:
    before = state(network)
    folded = fold(network, EXAMPLE, Normalization())
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
        found = fold(network, EXAMPLE)(images.double() / 255)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_wrong_eps_is_seen(
    network: nn.Sequential, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold_unchecked(monkeypatch, 0.0)
    with torch.no_grad():
        found = fold(network, EXAMPLE)(images.double() / 255)
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
    X = torch.randn(7, 2, 4, 4, generator=generator, dtype=torch.float64)
    folded = fold(network, X)
    assert list(folded.state_dict()) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    torch.testing.assert_close(folded(X), network(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("std", [1.0, 1 / 765, -3.0])
@pytest.mark.parametrize("padding", [0, 2])
def test_the_input_scale_goes_into_the_first_layer(std: float, padding: int) -> None:
    generator = torch.Generator().manual_seed(6)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=padding), nn.Sigmoid()).double().eval()
    before = state(network)
    X = torch.randint(256, (3, 1, 6, 6), generator=generator).double()
    folded = fold(network, X, Normalization(std=(std,)))
    assert list(folded.state_dict()) == ["0.weight", "0.bias"]
    torch.testing.assert_close(folded(X), network(X / 255 / std), rtol=1e-12, atol=1e-12)
    assert_untouched(network, before)


@pytest.mark.parametrize("seed", range(3))
def test_float32_is_off_by_no_more_than_its_roundings_add_up_to(seed: int, images: Tensor) -> None:
    folded = folded_layers(random_network(images, seed))
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
