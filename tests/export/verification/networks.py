"""Small networks with statistics of their own, and ONNX files of them by torch's own exporter."""

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.network.input_format import InputFormat

SHAPE = (3, 18, 18)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
FORMAT = InputFormat.of(SHAPE, MEAN, STD)


class Block(nn.Module):
    """A residual block: two convolutions without bias, their batch norms, and a shortcut's."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, X: Tensor) -> Tensor:
        Y = torch.relu(self.bn1(self.conv1(X)))
        return torch.relu(self.bn2(self.conv2(Y)) + self.shortcut(X))


class SharedConvolution(nn.Module):
    """One convolution called twice, with a batch norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 6)

    def forward(self, X: Tensor) -> Tensor:
        X = torch.relu(self.bn1(self.conv(self.stem(X))))
        X = torch.relu(self.bn2(self.conv(X)))
        return self.fc(X.mean(dim=(2, 3)))


class Spread(nn.Module):
    """Depthwise convolution, hard swish, concatenation, a batch norm that no layer can take."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.SiLU()
        )
        self.last = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6)
        )

    def forward(self, X: Tensor) -> Tensor:
        X = self.first(X)
        return self.last(torch.cat([self.depthwise(X), X], dim=1))


def residual() -> nn.Module:
    """A small residual network with six classes."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Block(8, 16, 2),
        Block(16, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 6),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": residual,
    "shared": SharedConvolution,
    "spread": Spread,
}


def trained(name: str) -> nn.Module:
    """A network with random weights, and statistics that are those of its activations."""
    return copy.deepcopy(_trained(name))


@cache
def _trained(name: str) -> nn.Module:
    torch.manual_seed(3)
    model = NETWORKS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        for _ in range(4):
            model(FORMAT.normalise(pictures(32), torch.float32))
    return model.eval()


def pictures(count: int) -> Tensor:
    """Random images, (N, 3, 18, 18) uint8."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(256, (count, *SHAPE), generator=generator, dtype=torch.uint8)


class FromBytes(nn.Module):
    """A network that normalises its images itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(MEAN).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(STD).reshape(-1, 1, 1))

    def forward(self, X: Tensor) -> Tensor:
        return self.model((X.float() / 255 - self.mean) / self.std)


def export_by_torch(
    model: nn.Module,
    path: Path,
    *,
    dynamic: bool = True,
    batch: int = 2,
    fold: bool = True,
    images: Tensor | None = None,
    opset: int = 17,
) -> Path:
    """Write a file as torch.onnx's exporter does that needs no package beside torch."""
    example = torch.zeros(batch, *SHAPE) if images is None else images[:batch]
    mode = torch.onnx.TrainingMode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is the older of two exporters
        torch.onnx.export(
            copy.deepcopy(model),
            (example,),
            path,
            dynamo=False,
            input_names=["pixels"],
            output_names=["scores"],
            dynamic_axes={"pixels": {0: "n"}, "scores": {0: "n"}} if dynamic else None,
            training=mode.EVAL if fold else mode.PRESERVE,
            opset_version=opset,
        )
    return path


Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def change_convolution(proto: onnx.ModelProto, index: int, change: Change) -> str:
    """Change weight and bias of a graph's convolution; return the weight's name."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    _, *names = nodes[index].input
    weight, bias = (numpy_helper.to_array(tensors[name]).copy() for name in names)
    for name, value in zip(names, change(weight, bias), strict=True):
        tensors[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return names[0]


def per_channel(factors: Sequence[float]) -> Change:
    """Multiply each output channel's weights."""

    def change(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return weight * np.resize(factors, len(weight)).reshape(-1, 1, 1, 1), bias

    return change


def another_mean(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bias[1] += 0.01
    return weight, bias


def swapped_channels(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weight[[0, 1]] = weight[[1, 0]]
    return weight, bias


def one_weight(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change one weight of median size by a thousandth."""
    weight.flat[np.argsort(np.abs(weight), axis=None)[weight.size // 2]] *= 1.001
    return weight, bias


def half_precision(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return weight.astype(np.float16), bias


MUTATIONS: dict[str, Change] = {
    "eps": per_channel((0.9995, 0.999, 0.9999)),
    "mean": another_mean,
    "channels": swapped_channels,
    "weight": one_weight,
    "float16": half_precision,
}
