"""Which layer absorbs a batch norm, in networks whose layers read each other in every way."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from export.folding.fold import Folding, fold_with_report
from export.folding.normalization import Normalization
from tests.export.networks import Plain, assert_untouched, state
from training.batch_norm import BatchNorm

X = torch.linspace(-1, 1, 2 * 3 * 16, dtype=torch.float64).reshape(2, 3, 4, 4)
ROWS = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


def assert_folds(network: nn.Module, example: Tensor = X) -> Folding:
    """Fold a network with random numbers, and compare both on another batch."""
    network = randomized(network)
    before = state(network)
    folding = fold_with_report(network, example)
    assert_untouched(network, before)
    assert not any("batch_norm" in str(node.target) for node in folding.network.graph.nodes)
    more = torch.cat([example, -2 * example])
    with torch.no_grad():
        expected = network.double()(more)
        torch.testing.assert_close(folding.network(more), expected, rtol=1e-12, atol=1e-12)
    return folding


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


def test_each_batch_norm_goes_into_the_layer_beside_it() -> None:
    folding = assert_folds(Classifier())
    assert [(step.norm, step.layer, step.side) for step in folding.steps] == [
        ("body.0.norm", "body.0.conv", "after"),
        ("body.0.shortcut.1", "body.0.shortcut.0", "after"),
        ("norm", "first", "before"),
        ("last", "second", "after"),
    ]
    assert set(folding.network.state_dict()) == {
        f"{layer}.{key}"
        for layer in ("body.0.conv", "body.0.shortcut.0", "first", "second")
        for key in ("weight", "bias")
    }
    assert {value.dtype for value in folding.network.state_dict().values()} == {torch.float64}


def test_where_the_layer_before_cannot_take_it_the_layer_after_does() -> None:
    def forward(self: nn.Module, X: Tensor) -> Tensor:
        Y = self.first(X)
        return Y + self.second(self.norm(Y))

    network = Plain(
        forward, first=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3), second=nn.Conv2d(3, 3, 1)
    )
    (step,) = assert_folds(network).steps
    assert (step.layer, step.side) == ("second", "before")


class OwnBatchNorm(nn.BatchNorm2d):
    """A batch norm with an activation of its own, as timm's BatchNormAct2d."""

    def forward(self, X: Tensor) -> Tensor:
        return functional.relu(super().forward(X))


class Frozen(nn.Module):
    """A batch norm of constants, as torchvision's FrozenBatchNorm2d."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(4))

    def forward(self, X: Tensor) -> Tensor:
        weight, bias, mean, var = (
            value.reshape(1, -1, 1, 1)
            for value in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        scale = weight * (var + 1e-5).rsqrt()
        return X * scale + (bias - mean * scale)


def tied() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, nn.BatchNorm1d(4), nn.ReLU(), second, nn.BatchNorm1d(4))


def changed_in_place(self: nn.Module, X: Tensor) -> Tensor:
    Y = self.norm(self.conv(X))
    Z = Y
    Y += 1
    return Z


def asserting(self: nn.Module, X: Tensor) -> Tensor:
    assert X.dim() == 4
    return self.norm(self.conv(X) if X.shape[1] == 3 else X)


def by_grad_mode(self: nn.Module, X: Tensor) -> Tensor:
    return self.conv(X) if torch.is_grad_enabled() else self.norm(self.conv(X))


def twice(self: nn.Module, X: Tensor) -> Tensor:
    Y = self.norm(self.conv(X))
    return self.other(self.conv(2 * X)) + Y


def by_function(self: nn.Module, X: Tensor) -> Tensor:
    mean, var = self.norm.running_mean, self.norm.running_var
    return functional.batch_norm(self.conv(X), mean, var)


def layers() -> dict[str, nn.Module]:
    return {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4)}


SHARED = nn.BatchNorm1d(4)


@pytest.mark.parametrize(
    ("network", "example", "steps"),
    [
        (Plain(changed_in_place, **layers()), X, 1),
        (Plain(asserting, **layers()), X, 1),
        (Plain(by_grad_mode, **layers()), X, 1),
        (Plain(twice, **layers(), other=nn.BatchNorm2d(4)), X, 2),
        (Plain(by_function, **layers()), X, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3), OwnBatchNorm(4)), X, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 3), Frozen()), X, 0),
        (nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), X, 1),
        (tied(), ROWS, 2),
        (nn.Sequential(nn.Linear(4, 4), SHARED, nn.ReLU(), nn.Linear(4, 4), SHARED), ROWS, 2),
        (nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4)), ROWS, 1),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout2d(), nn.BatchNorm2d(3)), X, 1),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding="valid")), X, 1),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1, padding="same")), X, 1),
        (
            nn.Sequential(
                nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding="same", padding_mode="reflect")
            ),
            X,
            1,
        ),
    ],
)
def test_a_network_of_every_kind_is_folded(network: nn.Module, example: Tensor, steps: int) -> None:
    folding = assert_folds(network, example)
    assert (len(folding.steps), folding.left_over) == (steps, ())


def test_a_compiled_network_is_folded() -> None:
    # Not a parameter above: the compiler would be imported wherever tests are collected.
    compiled = partial(torch.compile, backend="eager")
    for network in (
        compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))),
        nn.Sequential(compiled(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
    ):
        test_a_network_of_every_kind_is_folded(network, X, 1)


def test_products_and_sums_of_ones_own_are_folded_too() -> None:
    folding = assert_folds(nn.Sequential(nn.Conv2d(3, 4, 3), Frozen()))
    assert list(folding.network.state_dict()) == ["0.weight", "0.bias"]


def read_twice(self: nn.Module, X: Tensor) -> Tensor:
    Y = self.dropout(self.conv(X))
    return self.norm(Y) + Y


@pytest.mark.parametrize(
    ("network", "example", "text"),
    [
        (
            Plain(read_twice, dropout=nn.Dropout2d(), **layers()),
            X,
            "norm stays as one affine map a channel: it follows Conv2d conv (conv2d), whose output "
            "goes to the function add, BatchNorm2d norm; and it precedes the function add",
        ),
        (
            nn.Sequential(BatchNorm(3, num_dims=4), nn.Conv2d(3, 3, 3, padding=1)),
            X,
            "0 stays as one affine map a channel: it follows the network's input, which is neither "
            "a convolution nor linear; and it precedes Conv2d 1 (conv2d), whose padding puts zeros",
        ),
        (
            nn.Sequential(nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 3, 2)),
            X,
            "it precedes ConvTranspose2d 1 (conv_transpose2d), which is transposed",
        ),
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.BatchNorm1d(4)),
            ROWS,
            "it follows Sigmoid 1 (sigmoid), which is neither a convolution nor linear; and it "
            "precedes the network's output",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(5)),
            torch.linspace(-1, 1, 60).reshape(3, 5, 4).double(),
            "whose features are the last axis, but the batch norm's channels are axis 1",
        ),
        (
            nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(1, 2), nn.Linear(4, 5)),
            X,
            "it precedes Flatten 2 (reshape)",
        ),
    ],
    ids=["read twice", "padded", "transposed", "between", "axes", "flatten"],
)
def test_what_no_layer_can_take_stays_as_one_affine_map(
    network: nn.Module, example: Tensor, text: str
) -> None:
    folding = assert_folds(network, example)
    assert folding.steps == ()
    (left,) = folding.left_over
    assert text in str(left)
    scale, shift = (
        value
        for key, value in folding.network.state_dict().items()
        if key.endswith(("scale", "shift"))
    )
    assert scale.numel() == shift.numel() > 0


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), ["image.mean", "0.weight", "0.bias"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), ["image.mean", "1.weight", "1.bias"]),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), ["image.mean", "image.scale"]),
        (
            Plain(lambda self, X: self.a(X) + self.b(X), a=nn.Conv2d(3, 1, 1), b=nn.ReLU()),
            ["image.mean", "image.scale", "a.weight", "a.bias"],
        ),
    ],
)
def test_the_first_layer_takes_the_deviation_and_the_mean_is_subtracted(
    network: nn.Module, names: list[str]
) -> None:
    network = randomized(network).double()
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.1, 0.3])
    folding = fold_with_report(network, X, Normalization((0.4, 0.5, 0.6), (0.2, 0.1, 0.3)))
    assert sorted(folding.network.state_dict()) == sorted(names)
    given = torch.randint(256, (3, 3, 4, 4), generator=torch.Generator().manual_seed(0)).double()
    one_each = (1, 3, 1, 1)
    shifted = given / 255 - mean.double().reshape(one_each)
    expected = network(shifted / std.double().reshape(one_each))
    torch.testing.assert_close(folding.network(given), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_of_any_precision_are_folded_as_they_are(dtype: torch.dtype) -> None:
    assert_folds(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(dtype), ROWS)
