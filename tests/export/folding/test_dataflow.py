"""Plain modules are folded as they are traced; what a sequence holds decides what comes back."""

import pytest
import torch
from torch import Tensor, fx, nn

from export.folding.fold import fold, fold_with_report
from tests.export.networks import assert_untouched, state


class Residual(nn.Module):
    """As in He et al. 2016: both paths end in a batch norm, and are added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.shortcut = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    def forward(self, X: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(X))) + self.shortcut(X)


class Classifier(nn.Module):
    """Layers that read each other's outputs in every way that can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Residual(), nn.ReLU())
        self.norm = nn.BatchNorm2d(4)
        self.first, self.second = nn.Linear(64, 5), nn.Linear(5, 5)
        self.last = nn.BatchNorm1d(5)
        self.dropout = nn.Dropout()

    def forward(self, X: Tensor) -> Tensor:
        Y = self.first(torch.flatten(self.norm(self.body(X)), 1))
        return Y * self.last(input=self.dropout(self.second(Y)))


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 16, dtype=torch.float64).reshape(2, 3, 4, 4)


def assert_same(network: nn.Module, folded: nn.Module, X: Tensor = IMAGES) -> None:
    with torch.no_grad():
        torch.testing.assert_close(folded(X), network.double()(X), rtol=1e-12, atol=1e-12)


def test_a_plain_module_comes_back_as_a_graph_module() -> None:
    network = randomized(Classifier())
    before = state(network)
    folding = fold_with_report(network)
    assert_untouched(network, before)
    assert isinstance(folding.network, fx.GraphModule)
    assert not folding.network.training
    assert not any("norm" in name for name in folding.network.state_dict())
    assert [(step.norm, step.layer, step.side) for step in folding.steps] == [
        ("body.0.norm", "body.0.conv", "after"),
        ("body.0.shortcut.1", "body.0.shortcut.0", "after"),
        ("norm", "first", "before"),
        ("last", "second", "after"),
    ]
    assert_same(network, folding.network)


def test_a_sequence_that_branches_comes_back_as_a_sequence_of_one_graph() -> None:
    network = randomized(nn.Sequential(Residual(), nn.ReLU()))
    folded = fold(network)
    assert isinstance(folded, nn.Sequential)
    assert [type(layer).__name__ for layer in folded] == ["Sequential"]
    assert_same(network, folded)


def test_a_nested_sequence_comes_back_flat() -> None:
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout2d(), nn.BatchNorm2d(3))
    network = randomized(nn.Sequential(nn.Sequential(block, nn.ReLU()), nn.Flatten()))
    folded = fold(network)
    kinds = [nn.Conv2d, nn.Dropout2d, nn.ReLU, nn.Flatten]
    assert [type(layer) for layer in folded] == kinds
    assert_same(network, folded)


def test_where_the_layer_before_cannot_take_it_the_layer_after_does() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.second = (
                nn.Conv2d(3, 3, 1),
                nn.BatchNorm2d(3),
                nn.Conv2d(3, 3, 1),
            )

        def forward(self, X: Tensor) -> Tensor:
            Y = self.first(X)
            return Y + self.second(self.norm(Y))

    network = randomized(Skip())
    (step,) = fold_with_report(network).steps
    assert (step.layer, step.side) == ("second", "before")
    assert_same(network, fold(network))


@pytest.mark.parametrize("flatten", ["module", "function", "method"])
def test_a_flatten_between_a_batch_norm_and_a_linear_layer(flatten: str) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.flatten, self.linear = nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)

        def forward(self, X: Tensor) -> Tensor:
            Y = self.norm(X)
            flat = {
                "module": lambda: self.flatten(Y),
                "function": lambda: torch.flatten(Y, 1),
                "method": lambda: Y.flatten(1),
            }[flatten]()
            return self.linear(flat)

    network = randomized(Head())
    assert_same(network, fold(network))
    assert_same(randomized(Head()), lambda X: fold(randomized(Head()), 3.0)(X / 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_numbers_of_any_precision_are_folded_as_they_are(dtype: torch.dtype) -> None:
    network = randomized(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))).to(dtype)
    X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    folded = fold(network)
    assert {value.dtype for value in folded.state_dict().values()} == {torch.float64}
    assert_same(network, folded, X)


def test_tied_weights_are_untied_by_folding() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    network = randomized(nn.Sequential(first, nn.BatchNorm1d(3), nn.ReLU(), second))
    assert_same(network, fold(network), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 3, 3, padding="valid"),
        nn.Conv2d(3, 3, 1, padding="same"),
        nn.Conv2d(3, 3, 3, padding="same", padding_mode="reflect"),
        nn.Conv2d(3, 3, 3, padding=2, padding_mode="circular"),
    ],
)
def test_a_batch_norm_goes_into_a_convolution_that_pads_with_no_zeros(layer: nn.Module) -> None:
    network = randomized(nn.Sequential(nn.BatchNorm2d(3), layer))
    assert_same(network, fold(network))
