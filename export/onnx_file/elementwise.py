"""Emit operators that treat each number by itself, or two tensors number by number."""

import math

import numpy as np
from torch import fx

from export.folding.functional_graph import args, aten
from export.folding.layers import argument
from export.onnx_file.builder import Emit, GraphBuilder


def _unary(operator: str) -> Emit:
    def emit(builder: GraphBuilder, node: fx.Node) -> str:
        return builder.add(operator, [builder.value(args(node)[0])])

    return emit


def _binary(operator: str) -> Emit:
    """Emit an operator of two operands, either of which may be a number."""

    def emit(builder: GraphBuilder, node: fx.Node) -> str:
        left, right = (_operand(builder, args(node)[index]) for index in (0, 1))
        return builder.add(operator, [left, _times_alpha(builder, node, right)])

    return emit


def _reversed_sub(builder: GraphBuilder, node: fx.Node) -> str:
    left, right = (_operand(builder, args(node)[index]) for index in (0, 1))
    return builder.add("Sub", [right, _times_alpha(builder, node, left)])


def _operand(builder: GraphBuilder, value: object) -> str:
    if isinstance(value, int | float):
        return builder.constant("number", np.asarray(value, np.float64))
    return builder.value(value)


def _times_alpha(builder: GraphBuilder, node: fx.Node, operand: str) -> str:
    alpha = node.kwargs.get("alpha", 1)
    if alpha == 1:
        return operand
    return builder.add("Mul", [operand, builder.constant("alpha", np.asarray(alpha, np.float64))])


def _power(builder: GraphBuilder, node: fx.Node) -> str:
    exponent = args(node)[1]
    if not isinstance(exponent, int | float):
        raise builder.refusal("its exponent is computed: expected a number")
    source = builder.value(args(node)[0])
    if exponent == 2:
        return builder.add("Mul", [source, source])
    return builder.add("Pow", [source, _operand(builder, exponent)])


def _silu(builder: GraphBuilder, node: fx.Node) -> str:
    source = builder.value(args(node)[0])
    return builder.add("Mul", [source, builder.add("Sigmoid", [source])])


def _hardsigmoid(builder: GraphBuilder, node: fx.Node) -> str:
    return builder.add("HardSigmoid", [builder.value(args(node)[0])], alpha=1 / 6, beta=0.5)


def _gelu(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit x (1 + erf(x / sqrt 2)) / 2 (Hendrycks & Gimpel 2016, section 2)."""
    if node.kwargs.get("approximate", "none") != "none":
        return _tanh_gelu(builder, node)
    source = builder.value(args(node)[0])
    root = builder.constant("root", np.asarray(math.sqrt(2)))
    erf = builder.add("Erf", [builder.add("Div", [source, root])])
    factor = builder.add("Add", [erf, builder.constant("one", np.asarray(1.0))])
    product = builder.add("Mul", [source, factor])
    return builder.add("Mul", [product, builder.constant("half", np.asarray(0.5))])


def _tanh_gelu(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, of the same section."""
    source = builder.value(args(node)[0])
    square = builder.add("Mul", [source, source])
    scaled = builder.add("Mul", [square, builder.constant("cubic", np.asarray(0.044715))])
    factor = builder.add("Add", [scaled, builder.constant("one", np.asarray(1.0))])
    inner = builder.add("Mul", [source, factor])
    root = builder.constant("root", np.asarray(math.sqrt(2 / math.pi)))
    tanh = builder.add("Tanh", [builder.add("Mul", [inner, root])])
    outer = builder.add("Add", [tanh, builder.constant("one", np.asarray(1.0))])
    half = builder.constant("half", np.asarray(0.5))
    return builder.add("Mul", [builder.add("Mul", [source, outer]), half])


def _clip(lowest: float | None, highest: float | None) -> Emit:
    """Emit a clip between the arguments, which default to these."""

    def emit(builder: GraphBuilder, node: fx.Node) -> str:
        low, high = argument(node, 1, "min_val", lowest), argument(node, 2, "max_val", highest)
        low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
        inputs = [builder.value(args(node)[0])]
        inputs.append("" if low is None else _operand(builder, low))
        inputs += [] if high is None else [_operand(builder, high)]
        return builder.add("Clip", inputs)

    return emit


def _leaky_relu(builder: GraphBuilder, node: fx.Node) -> str:
    alpha = argument(node, 1, "negative_slope", 0.01)
    return builder.add("LeakyRelu", [builder.value(args(node)[0])], alpha=alpha)


def _elu(builder: GraphBuilder, node: fx.Node) -> str:
    if any(argument(node, index, "scale", 1) != 1 for index in (2, 3)):
        raise builder.refusal("its scales differ from 1")
    return builder.add(
        "Elu",
        [builder.value(args(node)[0])],
        alpha=float(argument(node, 1, "alpha", 1.0)),
    )


def _softmax(operator: str) -> Emit:
    def emit(builder: GraphBuilder, node: fx.Node) -> str:
        return builder.add(operator, [builder.value(args(node)[0])], axis=args(node)[1])

    return emit


OPERATORS: dict[object, Emit] = {
    aten.relu.default: _unary("Relu"),
    aten.sigmoid.default: _unary("Sigmoid"),
    aten.tanh.default: _unary("Tanh"),
    aten.exp.default: _unary("Exp"),
    aten.erf.default: _unary("Erf"),
    aten.abs.default: _unary("Abs"),
    aten.neg.default: _unary("Neg"),
    aten.reciprocal.default: _unary("Reciprocal"),
    aten.sqrt.default: _unary("Sqrt"),
    aten.hardswish.default: _unary("HardSwish"),
    aten.hardsigmoid.default: _hardsigmoid,
    aten.silu.default: _silu,
    aten.gelu.default: _gelu,
    aten.leaky_relu.default: _leaky_relu,
    aten.elu.default: _elu,
    aten.hardtanh.default: _clip(-1.0, 1.0),
    aten.relu6.default: _clip(0.0, 6.0),
    aten.clamp.default: _clip(None, None),
    aten.add.Tensor: _binary("Add"),
    aten.add.Scalar: _binary("Add"),
    aten.sub.Tensor: _binary("Sub"),
    aten.sub.Scalar: _binary("Sub"),
    aten.rsub.Scalar: _reversed_sub,
    aten.mul.Tensor: _binary("Mul"),
    aten.mul.Scalar: _binary("Mul"),
    aten.div.Tensor: _binary("Div"),
    aten.div.Scalar: _binary("Div"),
    aten.maximum.default: _binary("Max"),
    aten.minimum.default: _binary("Min"),
    aten.matmul.default: _binary("MatMul"),
    aten.bmm.default: _binary("MatMul"),
    aten.pow.Tensor_Scalar: _power,
    aten.softmax.int: _softmax("Softmax"),
    aten._softmax.default: _softmax("Softmax"),
    aten.log_softmax.int: _softmax("LogSoftmax"),
    aten._log_softmax.default: _softmax("LogSoftmax"),
}
