"""Emit convolutions, linear layers, and the norms that are computed from each image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from export.folding.functional_graph import args, aten, shape_of
from export.folding.layers import argument
from export.onnx_file.builder import Emit, GraphBuilder, rank


def convolution(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit conv1d, 2d or 3d."""
    spatial = rank(node) - 2
    strides, dilations = (
        numbers(argument(node, position, name, 1), spatial)
        for position, name in ((3, "stride"), (5, "dilation"))
    )
    kernel = [int(size) for size in shape_of(args(node)[1])[2:]]
    return builder.add(
        "Conv",
        _weighted(builder, node),
        kernel_shape=kernel,
        strides=strides,
        pads=_pads(argument(node, 4, "padding", 0), kernel, dilations),
        dilations=dilations,
        group=argument(node, 6, "groups", 1),
    )


def _pads(padding: object, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Return the zeros before and after each axis; "same" puts the odd zero at the end."""
    if padding == "same":
        extents = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        begins = [extent // 2 for extent in extents]
        return begins + [extent - begin for extent, begin in zip(extents, begins, strict=True)]
    return 2 * numbers(0 if padding == "valid" else padding, len(kernel))


def transposed_convolution(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit conv_transpose1d, 2d or 3d."""
    spatial = rank(node) - 2
    strides, padding, more, dilations = (
        numbers(argument(node, position, name, default), spatial)
        for position, name, default in (
            (3, "stride", 1),
            (4, "padding", 0),
            (5, "output_padding", 0),
            (7, "dilation", 1),
        )
    )
    return builder.add(
        "ConvTranspose",
        _weighted(builder, node),
        kernel_shape=list(shape_of(args(node)[1])[2:]),
        strides=strides,
        pads=[*padding, *padding],
        output_padding=more,
        dilations=dilations,
        group=argument(node, 6, "groups", 1),
    )


def linear(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit a linear layer: Gemm for (N, D), MatMul and Add for more axes."""
    source, weight = args(node)[0], args(node)[1]
    bias = argument(node, 2, "bias", None)
    if rank(source) == 2:
        return _gemm(builder, node)
    if builder.tensor(weight) is None:
        raise builder.refusal("its weight is computed from the images, in more than 2 dimensions")
    product = builder.add(
        "MatMul",
        [builder.value(source), builder.weight(weight, transposed=True)],
    )
    if bias is None:
        return product
    return builder.add("Add", [product, builder.value(bias)])


def _gemm(builder: GraphBuilder, node: fx.Node) -> str:
    dtype = builder.linear_dtype
    operands = [value for value in (args(node)[1], argument(node, 2, "bias", None)) if value]
    if dtype is np.float32:
        inputs = [builder.value(args(node)[0]), *map(builder.value, operands)]
        return builder.add("Gemm", inputs, transB=1)
    name = builder.reserve("Gemm")
    source = builder.cast(builder.value(args(node)[0]), dtype, f"{name}_input")
    weights = [builder.weight(operand, dtype) for operand in operands]
    builder.add("Gemm", [source, *weights], name=name, transB=1)
    return builder.cast(name, np.float32, f"{name}_output")


def layer_norm(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit layer_norm; the node has the mean and the deviation too, which nothing reads."""
    source, normalized = args(node)[0], args(node)[1]
    weight, bias = argument(node, 2, "weight", None), argument(node, 3, "bias", None)
    axes = len(normalized)
    scale = (
        builder.constant("ones", np.ones(normalized)) if weight is None else builder.value(weight)
    )
    inputs = [builder.value(source), scale, *([] if bias is None else [builder.value(bias)])]
    epsilon = argument(node, 4, "eps", 1e-5)
    return builder.add("LayerNormalization", inputs, axis=-axes, epsilon=epsilon)


def group_norm(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit group_norm: each group normalised as one channel, then a factor and a sum."""
    source, groups = args(node)[0], args(node)[1]
    shape = shape_of(source)
    flat = builder.add(
        "Reshape", [builder.value(source), builder.integers("groups", [0, groups, -1])]
    )
    ones, zeros = np.ones(groups), np.zeros(groups)
    normal = builder.add(
        "InstanceNormalization",
        [flat, builder.constant("ones", ones), builder.constant("zeros", zeros)],
        epsilon=argument(node, 4, "eps", 1e-5),
    )
    found = builder.add("Reshape", [normal, builder.integers("shape", [0, *shape[1:]])])
    one_each = (-1, *(1,) * (len(shape) - 2))
    for operator, key, value in (("Mul", "scale", args(node)[2]), ("Add", "shift", args(node)[3])):
        if value is not None:
            exact = builder.tensor(value)
            if exact is None:
                raise builder.refusal("its weight is computed from the images")
            constant = builder.constant(key, exact.reshape(one_each))
            found = builder.add(operator, [found, constant])
    return found


def _weighted(builder: GraphBuilder, node: fx.Node) -> list[str]:
    if rank(args(node)[0]) != rank(args(node)[1]):
        raise builder.refusal("its input has no axis for a batch")
    operands = [args(node)[0], args(node)[1], argument(node, 2, "bias", None)]
    return [builder.value(operand) for operand in operands if operand is not None]


def numbers(value: object, count: int) -> list[int]:
    """Return one whole number for each axis; torch takes a single one for all."""
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    return values * count if len(values) == 1 else values


OPERATORS: dict[object, Emit] = {
    aten.conv1d.default: convolution,
    aten.conv2d.default: convolution,
    aten.conv3d.default: convolution,
    aten.conv1d.padding: convolution,
    aten.conv2d.padding: convolution,
    aten.conv3d.padding: convolution,
    aten.conv_transpose1d.default: transposed_convolution,
    aten.conv_transpose2d.input: transposed_convolution,
    aten.conv_transpose3d.input: transposed_convolution,
    aten.linear.default: linear,
    aten.layer_norm.default: layer_norm,
    aten.group_norm.default: group_norm,
}
