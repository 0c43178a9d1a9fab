"""What cannot be traced or folded is refused: which layer, and why."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from export.errors import FoldError
from export.folding.fold import fold
from tests.export.networks import Plain, assert_untouched, state
from training.batch_norm import BatchNorm
from training.networks.lenet import lenet_bn

IMAGES = torch.zeros(2, 1, 28, 28)


def network_of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).eval()


def test_train_mode_is_refused() -> None:
    with pytest.raises(FoldError, match=r"the network is in train mode.*call \.eval\(\) first"):
        fold(lenet_bn(), IMAGES)


def test_one_layer_in_train_mode_is_enough_to_refuse(network: nn.Sequential) -> None:
    network[5].train()
    with pytest.raises(FoldError, match="layer 5 is in train mode"):
        fold(network, IMAGES)


@pytest.mark.parametrize("position", ["1", "5", "10", "13"])
@pytest.mark.parametrize("key", ["gamma", "beta", "moving_mean", "moving_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_by_layer_and_name(
    position: str, key: str, value: float
) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"{position}.{key}"].flatten()[-1] = value
    with pytest.raises(FoldError) as caught:
        fold(network, IMAGES)
    assert f"batch norm {position} has a {key} that is not finite" in str(caught.value)


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_layer_whose_numbers_are_not_finite_is_refused(key: str) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"4.{key}"].flatten()[0] = float("nan")
    with pytest.raises(FoldError, match=f"layer 4 has a {key} that is not finite"):
        fold(network, IMAGES)


@pytest.mark.parametrize("position", ["1", "5", "10", "13"])
def test_a_negative_variance_is_refused_by_layer_and_value(position: str) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"{position}.moving_var"].flatten()[0] = -0.25
    with pytest.raises(FoldError) as caught:
        fold(network, IMAGES)
    assert f"batch norm {position} has a negative moving_var (-0.25)" in str(caught.value)


def with_values(norm: nn.Module, **values: float) -> nn.Module:
    for key, value in values.items():
        norm.get_buffer(key).fill_(value)
    return norm


def pruned() -> nn.Sequential:
    linear = nn.Linear(4, 4)
    prune.l1_unstructured(linear, "weight", 0.5)
    return network_of(linear, nn.BatchNorm1d(4))


def branching() -> nn.Module:
    return Plain(lambda self, X: self.linear(X) if X.sum() > 0 else X, linear=nn.Linear(4, 4))


def of_two_inputs() -> nn.Module:
    class Sum(nn.Module):
        def forward(self, X: Tensor, Y: Tensor) -> Tensor:
            return X + Y

    return Sum().eval()


class Counting(nn.Module):
    """A network that counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, X: Tensor) -> Tensor:
        self.calls += 1
        return X * self.calls


class Noisy(nn.Module):
    def forward(self, X: Tensor) -> Tensor:
        return X + torch.rand_like(X)


FLAT = torch.zeros(2, 4)


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (
            network_of(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)),
            "batch norm 1 keeps no running statistics (track_running_stats=False)",
        ),
        (
            network_of(nn.Linear(4, 4), with_values(nn.BatchNorm1d(4), running_var=-0.5)),
            "batch norm 1 has a negative running_var (-0.5)",
        ),
        (
            network_of(nn.Linear(4, 4), with_values(nn.BatchNorm1d(4, eps=0.0), running_var=0.0)),
            "batch norm 1 divides by zero: its running_var is 0 and its eps 0",
        ),
        (
            network_of(nn.Linear(4, 4), with_values(nn.BatchNorm1d(4), running_mean=torch.nan)),
            "batch norm 1 has a running_mean that is not finite",
        ),
        (
            network_of(
                nn.Linear(4, 4).double(),
                with_values(nn.BatchNorm1d(4, eps=0.0).double(), running_var=5e-324),
                with_values(nn.BatchNorm1d(4, eps=0.0).double(), running_var=5e-324),
            ),
            "batch norm 2 makes numbers of layer 0 too large for float64",
        ),
        (pruned(), "this Sequential cannot be copied (Only Tensors created explicitly by the user"),
        (
            network_of(nn.Linear(4, 4, dtype=torch.complex64), nn.BatchNorm1d(4)),
            "layer 0 has a complex weight",
        ),
        (
            network_of(nn.LazyLinear(4), nn.BatchNorm1d(4)),
            "layer 0 has a weight without numbers: load them, or let the network infer",
        ),
        (
            network_of(nn.Linear(4, 4, device="meta"), nn.BatchNorm1d(4)),
            "layer 0 has a weight without numbers",
        ),
        (branching(), "the forward of this Plain branches on values of its input, and a graph has"),
        (
            Plain(lambda _, X: X.reshape(2, 4) + 0),
            "the forward of this Plain takes one number of images only: use x.shape[0]",
        ),
        (of_two_inputs(), "the network takes 2 inputs (X, Y): expected one, a batch of images"),
        (
            Plain(lambda _, X: {"logits": X + 1}),
            "the network returns a dict of 1 tensors: expected one tensor, the logits",
        ),
        (
            Plain(lambda _, X: (X + 1, X)),
            "the network returns a tuple of 2 tensors: expected one tensor, the logits",
        ),
        (Counting().eval(), "the forward changes the buffer calls in eval mode"),
        (Noisy().eval(), "the folded network is not the network: its outputs are off by"),
        (
            Plain(lambda _, X: X @ torch.zeros(3, 3)),
            "torch.export cannot trace this Plain: RuntimeError:",
        ),
    ],
)
def test_what_cannot_be_folded_is_refused_by_name_and_reason(
    network: nn.Module, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FoldError) as caught:
        fold(network, FLAT)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # torch.export prints graphs


def test_a_refused_network_is_left_as_it_was() -> None:
    norm = with_values(nn.BatchNorm1d(3), running_var=-1.0)
    network = network_of(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), norm)
    before = state(network)
    with pytest.raises(FoldError, match="batch norm 3 has a negative"):
        fold(network, torch.zeros(2, 3))
    assert_untouched(network, before)


def test_an_overflow_in_the_bias_alone_is_refused() -> None:
    network = network_of(nn.Linear(3, 2), BatchNorm(2, 2)).double()
    network[1].gamma.data.fill_(1e10)
    network[1].moving_mean.fill_(-1e300)
    with pytest.raises(FoldError, match="batch norm 1 makes numbers of layer 0 too large for flo"):
        fold(network, torch.zeros(2, 3))
    network[1].moving_mean.fill_(-1e200)
    fold(network, torch.zeros(2, 3))  # as large, and still finite
