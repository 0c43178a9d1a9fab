"""How exact folding is: ours, torch's own fusion, and ONNX Runtime's graph optimiser.

    python -m benchmarks.folding_accuracy [--draws 100]

Each draw is one float32 layer and batch norm with random numbers. Its exact folded
weights and biases are computed with 50 decimal digits, and its exact output in
float64. Peers fold in float32: `torch.nn.utils.fusion` (fuse_conv_bn_eval,
fuse_linear_bn_eval), and ONNX Runtime, which does so to a Conv before a
BatchNormalization as it loads a graph. Errors are in units of float32's rounding,
2^-24: of parameters relative to their own magnitude, of outputs relative to the
magnitudes that they sum (outputs may cancel, and then mean nothing as a yardstick).
"""

import argparse
import copy
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from export.folding.fold import fold

UNIT = 2.0**-24
DIGITS = 50

# Deviations by which the moving mean is off its layer's outputs, as when statistics lag behind
# the weights: b - mean and beta then cancel.
LAGS = {"": 0.0, ", mean far off": 32.0}

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Conv2d 6 to 16, 5x5": lambda: nn.Conv2d(6, 16, 5),
    "Conv2d depthwise": lambda: nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
    "Conv2d grouped, dilated": lambda: nn.Conv2d(8, 8, 3, stride=2, dilation=2, groups=2),
    "Conv1d": lambda: nn.Conv1d(8, 16, 5),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 16, 3, stride=2),
    "Linear 256 to 120": lambda: nn.Linear(256, 120),
}
NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}


@dataclass(frozen=True)
class Errors:
    """One way of folding, over all draws of one case, in units of float32's rounding."""

    largest: float  # of any weight or bias, relative to itself
    never_worse: bool | None  # no weight or bias of ours is farther from exact than this one's
    output: float  # root mean square, relative to the magnitudes summed


WAYS = ("ours", "torch", "ONNX Runtime")
OUTPUT_WAYS = ("eval mode", "ours", "torch", "ours, in ONNX Runtime", "ONNX Runtime")


def main() -> None:
    """Print the table as Markdown, and how often a peer's number was nearer to exact."""
    parser = argparse.ArgumentParser(description="How exact folding is, against peers.")
    parser.add_argument("--draws", type=int, default=40)
    draws = parser.parse_args().draws
    torch.set_num_threads(1)
    columns = [*(f"parameters: {way}" for way in WAYS), *(f"outputs: {way}" for way in OUTPUT_WAYS)]
    print("| case |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    nearer = []
    for case in cases():
        errors = measure(case, draws)
        largest = [f"{errors[way].largest:,.2f}" if way in errors else "" for way in WAYS]
        output = [f"{errors[way].output:.3f}" if way in errors else "" for way in OUTPUT_WAYS]
        print(f"| {case} |", " | ".join([*largest, *output]), "|", flush=True)
        nearer += [f"{way} in {case}" for way in errors if errors[way].never_worse is False]
    print("peers with a weight or bias nearer to exact than ours:", ", ".join(nearer) or "none")


def cases() -> list[str]:
    """Name all cases."""
    return [name + lag for name in LAYERS for lag in LAGS]


def measure(case: str, draws: int) -> dict[str, Errors]:
    """Fold a case's networks in all ways, and hold each against the exact numbers."""
    parameters: dict[str, list[NDArray[np.float64]]] = {}
    outputs: dict[str, list[float]] = {}
    for seed in range(draws):
        layer, norm, X = draw(case, seed)
        exact = exact_parameters(layer, norm)
        reference = nn.Sequential(copy.deepcopy(layer), copy.deepcopy(norm)).double()
        summed = magnitudes(reference, X.double())
        with torch.no_grad():
            right = reference(X.double())
            ways = {"eval mode": (None, nn.Sequential(layer, norm)(X)), **folded(layer, norm, X)}
        for way, (numbers, Y) in ways.items():
            if numbers is not None:
                parameters.setdefault(way, []).append(relative_errors(numbers, exact))
            error = ((Y.double() - right) / summed).square().mean().sqrt()
            outputs.setdefault(way, []).append(float(error) / UNIT)
    ours = np.concatenate(parameters["ours"])
    return {
        way: Errors(
            largest=max((float(e.max()) for e in parameters.get(way, [])), default=math.nan),
            never_worse=bool((ours <= np.concatenate(parameters[way]) + NEAR_A_TIE).all())
            if way in parameters and not way.startswith("ours")
            else None,
            output=float(np.sqrt(np.mean(np.square(errors)))),
        )
        for way, errors in outputs.items()
    }


# Halfway between two float32 numbers float64 may choose the other one, which is as near but for
# float64's own error: 2^-53 of magnitudes up to 1e4 times the value, in units of 2^-24.
NEAR_A_TIE = 1e4 * 2.0**-53 / UNIT


def draw(case: str, seed: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """Make the layer and batch norm of one draw, in eval mode, and an input (8, C, ...)."""
    name = max((name for name in LAYERS if case.startswith(name)), key=len)
    lag = LAGS[case.removeprefix(name)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = LAYERS[name]()
        channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        X = torch.rand(8, channels, *(12,) * (layer.weight.dim() - 2))
        with torch.no_grad():
            Y = layer(X)
        norm = NORMS[Y.dim()](Y.shape[1])
        axes = [axis for axis in range(Y.dim()) if axis != 1]
        var, mean = torch.var_mean(Y, axes)  # (F,)
        F = len(mean)
        norm.running_var = var * torch.empty(F).uniform_(0.5, 2)
        off = lag * torch.empty(F).uniform_(-1, 1)
        norm.running_mean = mean + off * var.sqrt()
        norm.weight = nn.Parameter(torch.empty(F).uniform_(0.5, 2))
        norm.bias = nn.Parameter(torch.empty(F).uniform_(-1, 1) + off)
    return layer.eval(), norm.eval(), X


def exact_parameters(layer: nn.Module, norm: nn.Module) -> NDArray[np.object_]:
    """Fold with 50 digits: all of weight' and then bias', flat, as Decimal."""
    vectors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    gamma, beta, mean, var = (decimals(vector) for vector in vectors)  # (F,)
    bias = decimals(layer.bias) if layer.bias is not None else Decimal(0) * beta
    with localcontext(prec=DIGITS):
        scale = np.array(
            [g / (v + Decimal(norm.eps)).sqrt() for g, v in zip(gamma, var, strict=True)]
        )
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        shape = [1] * layer.weight.dim()
        shape[axis] = -1
        weight = decimals(layer.weight) * scale.reshape(shape)
        return np.concatenate([weight.ravel(), (bias - mean) * scale + beta])


def decimals(values: Tensor) -> NDArray[np.object_]:
    """Make floats Decimals, without rounding."""
    flat = [Decimal(value) for value in values.detach().double().flatten().tolist()]
    return np.array(flat, dtype=object).reshape(tuple(values.shape))


def relative_errors(
    numbers: tuple[Tensor, Tensor], exact: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Hold float32 weight' and bias' against the exact ones, in units of rounding."""
    found = np.concatenate([decimals(values).ravel() for values in numbers])
    with localcontext(prec=DIGITS):
        return np.abs((found - exact) / exact).astype(np.float64) / UNIT


def magnitudes(network: nn.Sequential, X: Tensor) -> Tensor:
    """Sum each float64 output's terms with all signs as they add up most."""
    layer, norm = copy.deepcopy(network)
    scale = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)  # (F,)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.abs_()
        Y = layer(X.abs())  # (N, F, ...)
        shape = (1, -1) + (1,) * (Y.dim() - 2)
        scale, mean, beta = (
            t.reshape(shape) for t in (scale, norm.running_mean.abs(), norm.bias.abs())
        )
        return scale * (Y + mean) + beta


def folded(
    layer: nn.Module, norm: nn.Module, X: Tensor
) -> dict[str, tuple[tuple[Tensor, Tensor], Tensor]]:
    """Fold in every way that fits this layer; return (weight', bias') and the output for X."""
    rounded = fold(nn.Sequential(layer, norm).eval(), X).float()
    ours = copy.deepcopy(layer)
    ours.weight = rounded.get_parameter("0.weight")
    ours.register_parameter("bias", rounded.get_parameter("0.bias"))
    if isinstance(layer, nn.Linear):
        fused = fuse_linear_bn_eval(layer, norm)
    else:
        fused = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
    ways = {
        "ours": ((ours.weight, ours.bias), rounded(X)),
        "torch": ((fused.weight, fused.bias), fused(X)),
    }
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        ways["ONNX Runtime"] = fuse_in_onnx_runtime(graph_of(layer, norm), X)
        ways["ours, in ONNX Runtime"] = fuse_in_onnx_runtime(graph_of(ours, None), X)
    return ways


def fuse_in_onnx_runtime(graph: onnx.ModelProto, X: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Let ONNX Runtime optimise and compute a Conv and what follows it."""
    content = graph.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        # Higher levels fuse alike, and then reorder the weights in memory.
        session(content, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, str(optimized))
        graph = onnx.load(optimized).graph
    (node,) = graph.node  # BatchNormalization is gone
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight, bias = (torch.from_numpy(tensors[name].copy()) for name in node.input[1:])
    served = session(content, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, "")
    (Y,) = served.run(None, {"X": X.numpy()})
    return (weight, bias), torch.from_numpy(Y)


def session(content: bytes, level: ort.GraphOptimizationLevel, file: str) -> ort.InferenceSession:
    """Load a graph on the CPU, and write it to a file as it is optimised, if one is named."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = file
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def graph_of(layer: nn.Conv1d | nn.Conv2d, norm: nn.Module | None) -> onnx.ModelProto:
    """Write a convolution, and its batch norm if it has one, as ONNX."""
    tensors = {"W": layer.weight, "b": layer.bias}
    if norm is not None:
        tensors |= {"gamma": norm.weight, "beta": norm.bias}
        tensors |= {"mean": norm.running_mean, "var": norm.running_var}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    conv = helper.make_node(
        "Conv",
        ["X", *[name for name in ("W", "b") if name in tensors]],
        ["Y" if norm is not None else "Z"],
        strides=layer.stride,
        pads=[*layer.padding, *layer.padding],
        dilations=layer.dilation,
        group=layer.groups,
    )
    nodes = [conv]
    if norm is not None:
        inputs = ["Y", "gamma", "beta", "mean", "var"]
        nodes.append(helper.make_node("BatchNormalization", inputs, ["Z"], epsilon=norm.eps))
    axes = ["N", layer.in_channels, *"HW"[: len(layer.kernel_size)]]
    graph = helper.make_graph(
        nodes,
        "conv_batch_norm",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("Z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(t.detach().numpy(), name) for name, t in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


if __name__ == "__main__":
    main()
