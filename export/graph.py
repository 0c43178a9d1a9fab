"""The ONNX graph: one node a layer, written by hand, so that nothing is in it but the network.

    image (N, 1, 28, 28) uint8 -> Cast -> Conv, Sigmoid, ... -> Gemm = logits -> Softmax

ONNX operators, https://onnx.ai/onnx/operators: Conv-11, AveragePool-11, Gemm-13,
Softmax-13, all unchanged in opset 17.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.errors import GraphError
from export.fold import chain

OPSET = 17  # ONNX Runtime 1.12 (2022) and all since read it
IR_VERSION = 8

INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"

Attributes = dict[str, Any]  # int or list of int; helper.make_node takes any


def emit(model: nn.Sequential, image_shape: Sequence[int], num_classes: int) -> onnx.ModelProto:
    """Write a folded network as ONNX; its weights are rounded to float32, here and only here.

    Args:
        model: layers of Conv2d, Linear, Sigmoid, AvgPool2d and Flatten, taking
            an image's bytes as floats.
        image_shape: (C, H, W) of one image.
        num_classes: the last layer's width K.

    Returns:
        A checked model: `image` uint8 (N, C, H, W) to `logits` and
        `probabilities`, both float32 (N, K), for any N.

    Raises:
        GraphError: a layer has no counterpart here.
    """
    nodes = [helper.make_node("Cast", [INPUT], ["cast"], name="cast", to=TensorProto.FLOAT)]
    weights: list[TensorProto] = []
    last = len(model) - 1
    for position, (name, layer) in enumerate(chain(model)):
        operator, attributes = _operator(name, layer)
        output = LOGITS if position == last else f"{operator.lower()}_{name}"
        inputs = [nodes[-1].output[0], *_add_weights(name, layer, weights)]
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
    nodes.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], name="softmax", axis=1))
    graph = helper.make_graph(
        nodes,
        "lenet_bn_folded",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", *image_shape])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", num_classes])
            for output in (LOGITS, PROBABILITIES)
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _operator(name: str, layer: nn.Module) -> tuple[str, Attributes]:
    """Return the ONNX operator of a layer and its attributes."""
    match layer:
        case nn.Conv2d(padding=tuple(), padding_mode="zeros"):
            return "Conv", {
                "kernel_shape": list(layer.kernel_size),
                "strides": list(layer.stride),
                "pads": [*layer.padding, *layer.padding],
                "dilations": list(layer.dilation),
                "group": layer.groups,
            }
        case nn.AvgPool2d(
            kernel_size=int(size),
            stride=int(stride),
            padding=0,
            ceil_mode=False,
            divisor_override=None,
        ):
            return "AveragePool", {
                "kernel_shape": [size] * 2,
                "strides": [stride] * 2,
            }
        case nn.Sigmoid():
            return "Sigmoid", {}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return "Flatten", {"axis": 1}
        case nn.Linear():
            return "Gemm", {"transB": 1}
    raise GraphError(
        f"layer {name} is {layer}: only Conv2d, AvgPool2d (square, unpadded, a true "
        "mean), Sigmoid, Flatten (from axis 1) and Linear can be emitted"
    )


def _add_weights(name: str, layer: nn.Module, weights: list[TensorProto]) -> list[str]:
    """Append the layer's weight and bias, rounded to float32, and return their names."""
    names = []
    for key, value in layer.named_parameters():
        names.append(f"{name}.{key}")
        rounded = value.detach().double().numpy().astype(np.float32)
        weights.append(numpy_helper.from_array(rounded, names[-1]))
    return names
