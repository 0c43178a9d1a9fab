"""What cannot be folded is refused: which layer, and why."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from export.errors import FoldError
from export.export import BYTE
from export.folding.fold import fold
from tests.export.networks import assert_untouched, state
from training.batch_norm import BatchNorm
from training.lenet import lenet_bn


def network_of(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).eval()


class Plain(nn.Module):
    """A module whose forward is the given function of it and its input."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward
        self.eval()

    def forward(self, X: Tensor) -> Tensor:
        return self._forward(self, X)


def test_train_mode_is_refused() -> None:
    with pytest.raises(FoldError, match=r"the network is in train mode.*call \.eval\(\) first"):
        fold(lenet_bn())


def test_one_layer_in_train_mode_is_enough_to_refuse(network: nn.Sequential) -> None:
    network[5].train()
    with pytest.raises(FoldError, match="layer 5 is in train mode"):
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


@pytest.mark.parametrize("key", ["weight", "bias"])
def test_a_layer_whose_numbers_are_not_finite_is_refused(key: str) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"4.{key}"].flatten()[0] = float("nan")
    with pytest.raises(FoldError, match=f"layer 4 has a {key} that is not finite"):
        fold(network)


@pytest.mark.parametrize("position", ["1", "5", "10", "13"])
def test_a_negative_variance_is_refused_by_layer_and_value(position: str) -> None:
    network = lenet_bn().eval()
    network.state_dict()[f"{position}.moving_var"].flatten()[0] = -0.25
    with pytest.raises(FoldError) as caught:
        fold(network)
    assert f"batch norm {position} has a negative moving_var (-0.25)" in str(caught.value)


def with_values(norm: nn.Module, **values: float) -> nn.Module:
    for key, value in values.items():
        norm.get_buffer(key).fill_(value)
    return norm


class OwnBatchNorm(nn.BatchNorm2d):
    pass


def shared_norm() -> nn.Sequential:
    norm = nn.BatchNorm1d(4)
    return network_of(nn.Linear(4, 4), norm, nn.ReLU(), nn.Linear(4, 4), norm)


def shared_layer() -> nn.Sequential:
    linear = nn.Linear(4, 4)
    norms = (BatchNorm(4, num_dims=2) for _ in range(2))
    return network_of(linear, next(norms), nn.Sigmoid(), linear, next(norms))


def two_paths() -> nn.Module:
    return Plain(
        lambda self, X: self.norm(self.conv(X)) + self.conv(2 * X),
        conv=nn.Conv2d(3, 3, 3),
        norm=nn.BatchNorm2d(3),
    )


def read_elsewhere() -> nn.Module:
    def forward(self: nn.Module, X: Tensor) -> Tensor:
        Y = self.conv(X)
        return self.norm(Y) + Y

    return Plain(forward, conv=nn.Conv2d(3, 3, 3), norm=nn.BatchNorm2d(3))


def weight_read_elsewhere() -> nn.Module:
    return Plain(
        lambda self, X: self.norm(self.linear(X)) @ self.linear.weight,
        linear=nn.Linear(4, 4),
        norm=nn.BatchNorm1d(4),
    )


def functional_call() -> nn.Module:
    return Plain(
        lambda self, X: functional.batch_norm(
            self.conv(X), self.norm.running_mean, self.norm.running_var
        ),
        conv=nn.Conv2d(3, 3, 3),
        norm=nn.BatchNorm2d(3),
    )


def pruned() -> nn.Sequential:
    linear = nn.Linear(4, 4)
    prune.l1_unstructured(linear, "weight", 0.5)
    return network_of(linear, nn.BatchNorm1d(4))


def hooked() -> nn.Sequential:
    linear = nn.Linear(4, 4)
    linear.register_forward_hook(lambda module, arguments, output: 2 * output)
    return network_of(linear, nn.BatchNorm1d(4))


def complex_layer() -> nn.Sequential:
    return network_of(nn.Linear(4, 4, dtype=torch.complex64), nn.BatchNorm1d(4))


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (
            network_of(BatchNorm(3, num_dims=4), nn.Conv2d(3, 3, 3, padding=1)),
            "batch norm 0 cannot be folded: it follows the network's input, which is neither a "
            "convolution nor a linear layer; and it precedes Conv2d 1, whose padding (padding="
            "(1, 1)) puts zeros where the batch norm would have put its shift",
        ),
        (
            network_of(nn.BatchNorm1d(3), nn.Conv1d(3, 3, 3, padding="same")),
            "whose padding (padding='same') puts zeros",
        ),
        (
            network_of(nn.Linear(3, 3), nn.Sigmoid(), BatchNorm(3, num_dims=2)),
            "batch norm 2 cannot be folded: it follows Sigmoid 1, which is neither a convolution "
            "nor a linear layer; and it precedes the network's output, which is neither",
        ),
        (
            nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), norm=BatchNorm(3, num_dims=4))).eval(),
            "batch norm norm cannot be folded: it follows AvgPool2d pool,",
        ),
        (
            network_of(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)), nn.ReLU(), nn.Linear(3, 3)),
            "batch norm 0.1 cannot be folded: it follows ReLU 0.0, which is neither a convolution "
            "nor a linear layer; and it precedes ReLU 1",
        ),
        (
            network_of(nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 3, 2)),
            "it precedes ConvTranspose2d 1, which is transposed",
        ),
        (
            network_of(nn.BatchNorm2d(3), nn.Linear(3, 3)),
            "it precedes Linear 1, which computes in 2 dimensions, but the batch norm takes 4",
        ),
        (
            network_of(nn.Linear(3, 3), BatchNorm(3, num_dims=4)),
            "it follows Linear 0, which computes in 2 dimensions, but the batch norm takes 4",
        ),
        (
            network_of(nn.Linear(3, 5), nn.BatchNorm1d(4)),
            "it follows Linear 0, which gives 5 channels, but the batch norm has 4",
        ),
        (
            network_of(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(16, 4)),
            "it precedes Linear 2, which takes 16 channels, but the batch norm has 3",
        ),
        (
            network_of(nn.BatchNorm1d(4), nn.Flatten(2), nn.Linear(4, 4)),
            "it precedes Flatten 1, which is neither a convolution nor a linear layer",
        ),
        (
            network_of(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.BatchNorm1d(16)),
            "it follows Flatten 1, which is neither",
        ),
        (
            network_of(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)),
            "batch norm 1 keeps no running statistics (track_running_stats=False)",
        ),
        (
            network_of(nn.Linear(3, 3), with_values(nn.BatchNorm1d(3), running_var=-0.5)),
            "batch norm 1 has a negative running_var (-0.5)",
        ),
        (
            network_of(nn.Linear(3, 3), with_values(nn.BatchNorm1d(3, eps=0.0), running_var=0.0)),
            "batch norm 1 divides by zero: its running_var is 0 and its eps 0",
        ),
        (
            network_of(nn.Linear(3, 3), with_values(nn.BatchNorm1d(3), running_mean=torch.nan)),
            "batch norm 1 has a running_mean that is not finite",
        ),
        (
            network_of(
                nn.Linear(3, 3).double(),
                with_values(nn.BatchNorm1d(3, eps=0.0).double(), running_var=5e-324),
                with_values(nn.BatchNorm1d(3, eps=0.0).double(), running_var=5e-324),
            ),
            "batch norm 2 makes numbers of layer 0 too large for float64",
        ),
        (
            network_of(nn.Conv2d(1, 3, 3), OwnBatchNorm(3)),
            "batch norm 1 is a OwnBatchNorm, which may compute anything: only BatchNorm, ",
        ),
        (shared_norm(), "batch norm 1 is a BatchNorm1d, which is called 2 times"),
        (shared_layer(), "it follows Linear 0, which is called 2 times: give each place its own"),
        (two_paths(), "it follows Conv2d conv, which is called 2 times"),
        (read_elsewhere(), "it follows Conv2d conv, whose output goes to BatchNorm2d norm, the"),
        (weight_read_elsewhere(), "Linear linear, whose linear.weight the network also reads by"),
        (functional_call(), "the network calls the function batch_norm itself"),
        (pruned(), "this Sequential cannot be copied (Only Tensors created explicitly by the user"),
        (hooked(), "it follows Linear 0, which has hooks that change what it computes"),
        (
            network_of(weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4)),
            "it follows ParametrizedLinear 0, which is neither",
        ),
        (complex_layer(), "layer 0 has a complex weight"),
        (
            network_of(nn.LazyLinear(4), nn.BatchNorm1d(4)),
            "layer 0 has a weight without numbers: load them, or let the network infer",
        ),
        (
            network_of(nn.Linear(4, 4, device="meta"), nn.BatchNorm1d(4)),
            "layer 0 has a weight without numbers",
        ),
        (
            Plain(lambda self, X: self.linear(X) if X.sum() > 0 else X, linear=nn.Linear(4, 4)),
            "torch.fx cannot trace this Plain, so what its layers read is unknown (symbolically",
        ),
    ],
)
def test_a_batch_norm_that_cannot_go_is_refused_by_name_and_reason(
    network: nn.Module, text: str
) -> None:
    with pytest.raises(FoldError) as caught:
        fold(network)
    assert text in str(caught.value)


def test_a_refused_network_is_left_as_it_was() -> None:
    network = network_of(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3))
    before = state(network)
    with pytest.raises(FoldError, match="batch norm 3 cannot be folded"):
        fold(network)
    assert_untouched(network, before)
    assert len(network) == 4


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (
            network_of(nn.Sigmoid(), nn.Linear(3, 3)),
            "the input scale cannot be folded: the network's input has no layer to put it into: it "
            "precedes Sigmoid 0, which is neither a convolution nor a linear layer",
        ),
        (
            Plain(
                lambda self, X: self.a(X) + self.b(X),
                a=nn.Linear(3, 3),
                b=nn.Linear(3, 3),
            ),
            "its output goes to Linear a, Linear b: it must go to one layer",
        ),
        (network_of(), "it precedes the network's output"),
    ],
)
def test_an_input_scale_needs_a_layer_at_the_front(network: nn.Module, text: str) -> None:
    with pytest.raises(FoldError) as caught:
        fold(network, BYTE)
    assert text in str(caught.value)


def test_an_input_scale_needs_one_input() -> None:
    class Sum(nn.Module):
        def forward(self, X: Tensor, Y: Tensor) -> Tensor:
            return X + Y

    with pytest.raises(FoldError, match="an input scale needs a network of one input, not of X, Y"):
        fold(Sum().eval(), BYTE)


def read_twice(network: nn.Module, X: Tensor) -> Tensor:
    Y = network.dropout(network.conv(X))
    return network.norm(Y) + Y


@pytest.mark.parametrize("dropout", [nn.Dropout2d, nn.Identity])
def test_a_layer_that_others_read_behind_a_dropout_is_refused(dropout: type[nn.Module]) -> None:
    """Folded, it would give them what the batch norm gives."""
    network = Plain(read_twice, conv=nn.Conv2d(1, 4, 3), dropout=dropout(), norm=BatchNorm(4, 4))
    with pytest.raises(FoldError, match=f"batch norm norm .*it follows {dropout.__name__} dropout"):
        fold(network)


@pytest.mark.parametrize(
    "flatten",
    [
        nn.Flatten(1, 2),
        nn.Flatten(2),
        nn.Flatten(0, -1),
        nn.Flatten(2, 3),
        Plain(lambda _, X: torch.flatten(X, 1, 2)),
        Plain(lambda _, X: torch.flatten(X, start_dim=2)),
        Plain(lambda _, X: X.flatten(1, 2)),
        Plain(lambda _, X: X.flatten()),
    ],
    ids=str,
)
def test_a_flatten_of_some_axes_is_none_between_batch_norm_and_linear(flatten: nn.Module) -> None:
    """Behind (N, 4, 2, 3) to (N, 8, 3), a linear layer's columns are no channel's."""
    linear = nn.Linear(12, 5)  # a multiple of the channels, as behind a whole flatten
    with pytest.raises(FoldError, match="batch norm 1 cannot be folded"):
        fold(network_of(nn.ReLU(), BatchNorm(4, 4), flatten, linear))


def test_an_overflow_in_the_bias_alone_is_refused() -> None:
    network = network_of(nn.Linear(3, 2), BatchNorm(2, 2)).double()
    network[1].gamma.data.fill_(1e10)
    network[1].moving_mean.fill_(-1e300)
    with pytest.raises(FoldError, match="batch norm 1 makes numbers of layer 0 too large for flo"):
        fold(network)
    network[1].moving_mean.fill_(-1e200)
    fold(network)  # as large, and still finite
