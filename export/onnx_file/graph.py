"""Write the ONNX graph by hand, one node per layer, so that it contains only the network.

    image (N, 1, 28, 28) uint8 -> Cast -> Conv, Sigmoid, ... -> Cast, Gemm, Cast -> logits

Linear layers are computed in float64, everything else in float32. A linear layer sums up to 256
products that cancel: most of float32's error comes from there. In float64 the folded network is
more accurate than the trained one (docs/folding.md has the figures), and costs 5 % more at large
batches. ONNX Runtime does not compute convolutions in float64 on any CPU.

Opset 13 is the lowest in which every operator here has the same meaning as in opset 17: the last
to change was Softmax, which before normalised over all axes from one on
(https://onnx.ai/onnx/operators). IR version 7 is the lowest that allows opset 13
(https://onnx.ai/onnx/repo-docs/Versioning.html). ONNX Runtime reads both since 1.6
(https://onnxruntime.ai/docs/reference/compatibility.html), TensorRT 11 reads opsets from 9 on
(https://docs.nvidia.com/deeplearning/tensorrt, ONNX Opset Guide), and
tests/export/onnx_file/test_runtimes.py runs the model in ONNX Runtime, OpenVINO and onnx's
reference evaluator.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export.errors import GraphError
from export.folding.fold import chain

OPSET = 13
IR_VERSION = 7

PRODUCER, PRODUCER_VERSION = "fashion-lenet-bn", "1.0.0"  # as pyproject.toml has them

INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"

MODEL_DOC = """\
LeNet-BN (Dive into Deep Learning, chapter 8.5; Ioffe & Szegedy 2015) in inference, each batch \
norm folded into the layer before it. Linear layers are computed in float64, all else in float32. \
The metadata properties hold labels, version, provenance, the proof of equivalence with the \
trained network, and golden samples to check a device with."""
INPUT_DOC = """\
Axes: image (as many as you like), channel, row from the top, column from the left. uint8: 0 is \
the black background, 255 the brightest of the garment, as Fashion-MNIST stores it. Not scaled: \
the first convolution holds the 1/255."""
LOGITS_DOC = """\
Axes: image, class in the order of the metadata's labels. float32, any real number; the largest \
is the predicted class's."""
PROBABILITIES_DOC = """\
Axes: image, class in the order of the metadata's labels. float32 in [0, 1]: softmax of the \
logits; an image's add up to 1."""

Attributes = dict[str, Any]  # int or list of int; helper.make_node takes any


def emit(model: nn.Sequential, image_shape: Sequence[int], num_classes: int) -> onnx.ModelProto:
    """Return a folded network as an ONNX model.

    The weights of convolutions are rounded to float32 here and nowhere else; those of
    linear layers stay float64.

    Args:
        model: layers of Conv2d, Linear, Sigmoid, AvgPool2d and Flatten; takes an
            image's bytes as floats.
        image_shape: (C, H, W) of one image.
        num_classes: the last layer's width K.

    Returns:
        A checked model: `image` uint8 (N, C, H, W) to `logits` and
        `probabilities`, both float32 (N, K), for any N.

    Raises:
        GraphError: a layer has no ONNX counterpart here.
    """
    nodes = [_cast(INPUT, "pixels", np.float32)]
    weights: list[TensorProto] = []
    for name, layer in chain(model):
        operator, attributes = _operator(name, layer)
        dtype = np.float64 if isinstance(layer, nn.Linear) else np.float32
        output = f"{operator.lower()}_{name}"
        if dtype is np.float64:
            nodes.append(_cast(nodes[-1].output[0], f"{output}_input", np.float64))
        inputs = [nodes[-1].output[0], *_add_weights(name, layer, dtype, weights)]
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        if dtype is np.float64:
            nodes.append(_cast(output, f"{output}_output", np.float32))
    nodes[-1].output[0] = LOGITS
    nodes.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], name="softmax", axis=1))

    graph = helper.make_graph(
        nodes,
        "lenet_bn_folded",
        [
            helper.make_tensor_value_info(
                INPUT, TensorProto.UINT8, ["N", *image_shape], doc_string=INPUT_DOC
            )
        ],
        [
            helper.make_tensor_value_info(
                output, TensorProto.FLOAT, ["N", num_classes], doc_string=doc
            )
            for output, doc in ((LOGITS, LOGITS_DOC), (PROBABILITIES, PROBABILITIES_DOC))
        ],
        weights,
        doc_string=MODEL_DOC,
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=PRODUCER_VERSION,
        doc_string=MODEL_DOC,
    )
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


def _cast(source: str, output: str, dtype: type[np.floating]) -> onnx.NodeProto:
    to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_node("Cast", [source], [output], name=output, to=to)


def _add_weights(
    name: str, layer: nn.Module, dtype: type[np.floating], weights: list[TensorProto]
) -> list[str]:
    """Append the layer's weight and bias, rounded to dtype, and return their names."""
    names = []
    for key, value in layer.named_parameters():
        names.append(f"{name}.{key}")
        rounded = value.detach().double().numpy().astype(dtype)
        weights.append(numpy_helper.from_array(rounded, names[-1]))
    return names
