"""Emit pooling and means over axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from export.folding.functional_graph import args, aten, shape_of
from export.folding.layers import argument
from export.onnx_file.builder import Emit, GraphBuilder, rank
from export.onnx_file.layers import numbers


def _max_pool(builder: GraphBuilder, node: fx.Node) -> str:
    spatial = rank(args(node)[0]) - 2
    kernel, strides, padding = _window(node, spatial)
    dilations = numbers(argument(node, 4, "dilation", 1), spatial)
    ends = _end_pads(node, kernel, strides, padding, dilations)
    spacing: dict[str, Any] = {"dilations": dilations} if any(d != 1 for d in dilations) else {}
    return builder.add(
        "MaxPool",
        [builder.value(args(node)[0])],
        kernel_shape=kernel,
        strides=strides,
        **_pads(padding, ends),
        **spacing,
    )


def _average_pool(builder: GraphBuilder, node: fx.Node) -> str:
    spatial = rank(args(node)[0]) - 2
    kernel, strides, padding = _window(node, spatial)
    if argument(node, 6, "divisor_override", None) is not None:
        raise builder.refusal("it divides by a number of its own (divisor_override)")
    counts_zeros = bool(argument(node, 5, "count_include_pad", True))
    ends = _end_pads(node, kernel, strides, padding, [1] * spatial)
    if ends != padding and any(padding) and counts_zeros:
        raise builder.refusal("it counts zeros of its padding and rounds up (ceil_mode)")
    attributes = _pads(padding, ends)
    if attributes and ends == padding and counts_zeros:
        attributes["count_include_pad"] = 1
    return builder.add(
        "AveragePool",
        [builder.value(args(node)[0])],
        kernel_shape=kernel,
        strides=strides,
        **attributes,
    )


def _window(node: fx.Node, spatial: int) -> tuple[list[int], list[int], list[int]]:
    kernel = numbers(args(node)[1], spatial)
    strides = numbers(argument(node, 2, "stride", None) or kernel, spatial)
    return kernel, strides, numbers(argument(node, 3, "padding", 0), spatial)


def _end_pads(
    node: fx.Node,
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """Return the padding at the ends with which ONNX gives torch's number of windows.

    torch rounds up under ceil_mode, but drops a window that would start in the padding
    (torch.nn.MaxPool2d); ONNX's ceil_mode has meant different things.
    """
    sizes = [int(size) for size in shape_of(args(node)[0])[2:]]
    counts = [int(size) for size in shape_of(node)[2:]]
    ends = []
    for size, count, k, s, p, d in zip(
        sizes, counts, kernel, strides, padding, dilations, strict=True
    ):
        needed = (count - 1) * s + d * (k - 1) + 1 - size - p
        ends.append(max(needed, p))
    return ends


def _pads(begins: list[int], ends: list[int]) -> dict[str, Any]:
    return {"pads": [*begins, *ends]} if any((*begins, *ends)) else {}


def _adaptive_average_pool(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit windows of one size where they have one, and matrices of shares where they differ."""
    source = builder.value(args(node)[0])
    sizes = [int(size) for size in shape_of(args(node)[0])[2:]]
    counts = [int(size) for size in shape_of(node)[2:]]
    if sizes == counts:
        return source
    if all(count == 1 for count in counts):
        return builder.add("GlobalAveragePool", [source])
    if all(size % count == 0 for size, count in zip(sizes, counts, strict=True)):
        kernel = [size // count for size, count in zip(sizes, counts, strict=True)]
        return builder.add("AveragePool", [source], kernel_shape=kernel, strides=kernel)
    if len(sizes) != 2:
        raise builder.refusal(f"its {counts} windows of {sizes} differ in size")
    rows, columns = (shares(size, count) for size, count in zip(sizes, counts, strict=True))
    down = builder.add("MatMul", [builder.constant("rows", rows), source])
    return builder.add("MatMul", [down, builder.constant("columns", columns.T.copy())])


def shares(size: int, count: int) -> NDArray[np.float64]:
    """Return the matrix (count, size) of adaptive average pooling: each row's window, averaged."""
    matrix = np.zeros((count, size))
    for index in range(count):
        start, end = index * size // count, -(-(index + 1) * size // count)
        matrix[index, start:end] = 1 / (end - start)
    return matrix


def _adaptive_max_pool(builder: GraphBuilder, node: fx.Node) -> str:
    source = builder.value(args(node)[0])
    sizes = [int(size) for size in shape_of(args(node)[0])[2:]]
    counts = numbers(args(node)[1], len(sizes))
    if all(count == 1 for count in counts):
        return builder.add("GlobalMaxPool", [source])
    if any(size % count for size, count in zip(sizes, counts, strict=True)):
        raise builder.refusal(f"its {counts} windows of {sizes} differ in size")
    kernel = [size // count for size, count in zip(sizes, counts, strict=True)]
    return builder.add("MaxPool", [source], kernel_shape=kernel, strides=kernel)


def _mean(builder: GraphBuilder, node: fx.Node) -> str:
    axes = _axes(node)
    keep = bool(argument(node, 2, "keepdim", False))
    source = builder.value(args(node)[0])
    if keep and axes == list(range(2, rank(args(node)[0]))):
        return builder.add("GlobalAveragePool", [source])
    return builder.add("ReduceMean", [source], axes=axes, keepdims=int(keep))


def _sum(builder: GraphBuilder, node: fx.Node) -> str:
    axes, keep = _axes(node), bool(argument(node, 2, "keepdim", False))
    inputs = [builder.value(args(node)[0]), builder.integers("axes", axes)]
    return builder.add("ReduceSum", inputs, keepdims=int(keep))


def _maximum(builder: GraphBuilder, node: fx.Node) -> str:
    keep = bool(argument(node, 2, "keepdim", False))
    inputs = [builder.value(args(node)[0])]
    return builder.add("ReduceMax", inputs, axes=_axes(node), keepdims=int(keep))


def _axes(node: fx.Node) -> list[int]:
    count = rank(args(node)[0])
    given = argument(node, 1, "dim", None) or list(range(count))
    axes: Sequence[int] = given if isinstance(given, list | tuple) else [given]
    return sorted(axis % count for axis in axes)


OPERATORS: dict[object, Emit] = {
    aten.max_pool1d.default: _max_pool,
    aten.max_pool2d.default: _max_pool,
    aten.max_pool3d.default: _max_pool,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.avg_pool1d.default: _average_pool,
    aten.avg_pool2d.default: _average_pool,
    aten.avg_pool3d.default: _average_pool,
    aten.adaptive_avg_pool1d.default: _adaptive_average_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_average_pool,
    aten.adaptive_avg_pool3d.default: _adaptive_average_pool,
    aten.adaptive_max_pool2d.default: _adaptive_max_pool,
    aten.mean.dim: _mean,
    aten.sum.dim_IntList: _sum,
    aten.amax.default: _maximum,
}
