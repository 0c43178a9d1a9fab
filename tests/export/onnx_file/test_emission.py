"""Each operator that can be emitted, against torch, in ONNX Runtime; all others are refused."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.errors import GraphError
from export.folding.fold import fold
from export.onnx_file.emission import emit
from tests.export.inference import LEVELS, run

SHAPE = (4, 9, 11)  # height and width differ, so that what is swapped shows


class Of(nn.Module):
    """A function of the images' values as a network, with a linear layer behind it."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.function = function
        self.head = nn.Linear(width, 3)

    def forward(self, X: Tensor) -> Tensor:
        return self.head(self.function(X / 64 - 2).flatten(1))


class Attention(nn.Module):
    """Every position looks at every other one: matmul, softmax, and linear layers on (N, L, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(4, 5), nn.Linear(4, 5, bias=False)
        self.norm = nn.LayerNorm(4)

    def forward(self, X: Tensor) -> Tensor:
        tokens = self.norm(X.flatten(2).transpose(1, 2))  # (N, L, D)
        weights = (self.query(tokens) @ self.key(tokens).transpose(1, 2)).softmax(-1)
        return (weights @ tokens).mean(1)


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "conv2d": nn.Conv2d(4, 6, (3, 1), padding=(1, 0), stride=(2, 1), dilation=(2, 1)),
    "conv2d grouped": nn.Conv2d(4, 8, 3, groups=4, padding=1, bias=False),
    "conv2d same": nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)),
    "conv2d valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "conv2d reflect": nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="reflect"),
    "conv2d replicate": nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="replicate"),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 6, 5, padding=2, stride=3)),
    "conv3d": lambda X: functional.conv3d(X.unsqueeze(1), torch.ones(2, 1, 2, 3, 3).to(X)),
    "conv_transpose2d": nn.ConvTranspose2d(
        4, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2
    ),
    "linear of rows": nn.Linear(11, 5),
    "attention": Attention(),
    "layer_norm": nn.LayerNorm(SHAPE),
    "layer_norm plain": nn.LayerNorm(11, elementwise_affine=False),
    "group_norm": nn.GroupNorm(2, 4),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "hardtanh": lambda X: functional.hardtanh(X, -0.5, 0.75),
    "clamp": lambda X: X.clamp(min=-0.25),
    "clamp above": lambda X: X.clamp(max=0.25),
    "leaky_relu": lambda X: functional.leaky_relu(X, 0.2),
    "elu": lambda X: functional.elu(X, 0.7),
    "gelu": functional.gelu,
    "gelu tanh": lambda X: functional.gelu(X, approximate="tanh"),
    "arithmetic": lambda X: torch.add(X, X * 3, alpha=0.5) - 1 / (X.abs() + 2) + (1 - X) / 7,
    "powers": lambda X: X**2 + (X.abs() + 1) ** 1.5 + (X.abs() + 1).sqrt(),
    "exponents": lambda X: torch.exp(-X) + torch.erf(X),
    "extremes": lambda X: torch.maximum(X, 1 - X) + torch.minimum(X, -X),
    "softmax": lambda X: X.softmax(1) + X.log_softmax(-1),
    "max_pool2d": nn.MaxPool2d((3, 2), stride=(2, 3), padding=1, dilation=(1, 2)),
    "max_pool2d up": nn.MaxPool2d(3, stride=2, ceil_mode=True),
    "max_pool2d up padded": nn.MaxPool2d((2, 3), stride=2, padding=1, ceil_mode=True),
    "avg_pool2d": nn.AvgPool2d((3, 2), stride=(2, 3), padding=1),
    "avg_pool2d uncounted": nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "avg_pool2d up": nn.AvgPool2d((2, 3), stride=2, ceil_mode=True),
    "adaptive_avg_pool2d of 1": nn.AdaptiveAvgPool2d(1),
    "adaptive_avg_pool2d even": nn.AdaptiveAvgPool2d((3, 11)),
    "adaptive_avg_pool2d uneven": nn.AdaptiveAvgPool2d((4, 3)),
    "adaptive_avg_pool2d larger": nn.AdaptiveAvgPool2d((12, 13)),
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d((3, 1)),
    "mean": lambda X: X.mean((2, 3)) + X.mean((2, 3), keepdim=True).flatten(1) + X.mean(3).sum(-1),
    "amax": lambda X: X.amax((-1, 1)),
    "shapes": lambda X: (
        X.permute(0, 2, 3, 1).unflatten(3, (2, 2)).transpose(1, 4).unsqueeze(1).squeeze(1)
    ),
    "windows": lambda X: X.reshape(-1, 9, 11).transpose(1, 2).reshape(X.shape[0], 4, 11, 9),
    "split": lambda X: torch.cat([part * (i + 1) for i, part in enumerate(X.split(3, 3))], 3),
    "chunk": lambda X: X.chunk(2, 1)[1] * X.chunk(2, 1)[0],
    "slice": lambda X: X[:, 1:3, ::2, -4:] + X[:, 1:3, 2:7, 4:8],
    "select": lambda X: X[:, 2] * X[:, :, 3].mean(1, keepdim=True),
    "pad": lambda X: functional.pad(X, (1, 2, 0, 3), value=0.5),
}


def network(function: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(3)
    with torch.no_grad():
        double = function.double() if isinstance(function, nn.Module) else function
        width = double(torch.zeros(2, *SHAPE, dtype=torch.float64)).flatten(1).shape[1]
    return Of(function, width).double().eval()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", CASES)
def test_an_operator_is_torchs(case: str) -> None:
    model = network(CASES[case])
    emitted = emit(fold(model, torch.zeros(2, *SHAPE))).model
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(256, (5, *SHAPE), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        exact = model(images.double()).numpy()
    for level in LEVELS:
        logits, _ = run(emitted, images, level)
        np.testing.assert_allclose(logits, exact, rtol=1e-5, atol=2e-5)
        alone, _ = run(emitted, images[:1], level)
        np.testing.assert_allclose(alone, exact[:1], rtol=1e-5, atol=2e-5)


def test_names_are_the_modules_and_the_opset_is_the_lowest() -> None:
    model = network(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    found = emit(fold(model, torch.zeros(2, *SHAPE)))
    assert [node.name for node in found.model.graph.node] == [
        *("pixels", "div", "sub", "function.0", "function.1", "flatten", "head", "softmax"),
    ]
    assert set(found.exact_weights) == {
        *("div.number", "sub.number", "function.0.weight", "function.0.bias"),
        *("head.weight", "head.bias"),
    }
    assert found.modules["function.1"] == "function.1"
    assert found.model.opset_import[0].version == 13
    assert onnx.helper.find_min_ir_version_for(found.model.opset_import) == found.model.ir_version
    newer = emit(fold(network(nn.LayerNorm(11)), torch.zeros(2, *SHAPE))).model
    assert newer.opset_import[0].version == 17


def test_the_bytes_are_the_same_whatever_was_traced_before() -> None:
    model = network(CASES["arithmetic"])
    first = emit(fold(model, torch.zeros(2, *SHAPE))).model.SerializeToString()
    fold(network(CASES["split"]), torch.zeros(2, *SHAPE))
    assert emit(fold(model, torch.zeros(3, *SHAPE))).model.SerializeToString() == first


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda X: torch.sort(X, 1).values, "the operator aten.sort"),
        (lambda X: torch.cumsum(X, 1), "the operator aten.cumsum.default is not known here"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "it pads in mode circular"),
        (nn.AvgPool2d(2, divisor_override=3), "divides by a number of its own (divisor_override)"),
        (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), "counts zeros of its padding and rounds"),
    ],
)
def test_an_operator_with_no_counterpart_is_refused_by_name(
    function: Callable[[Tensor], Tensor], text: str
) -> None:
    shape = (4, 8, 10)
    model = nn.Sequential(Of(function, 1)).double().eval()
    with torch.no_grad():
        width = function(torch.zeros(2, *shape, dtype=torch.float64)).flatten(1).shape[1]
    model[0].head = nn.Linear(width, 3).double().eval()
    with pytest.raises(GraphError) as caught:
        emit(fold(model, torch.zeros(2, *shape)))
    assert text in str(caught.value)
    assert "cannot be written as ONNX" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nn.Conv2d(4, 3, 3), "the network gives (N, 3, 7, 9): expected logits (N, K)"),
        (nn.Flatten(0), "expected logits (N, K), one row of K classes for each image"),
    ],
)
def test_what_gives_no_logits_is_refused(model: nn.Module, text: str) -> None:
    with pytest.raises(GraphError) as caught:
        emit(fold(model.eval(), torch.zeros(2, *SHAPE)))
    assert text in str(caught.value)
