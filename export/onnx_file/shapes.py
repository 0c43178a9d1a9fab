"""Emit operators that move numbers and compute none."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from export.folding.functional_graph import args, aten, shape_of
from export.folding.layers import argument
from export.onnx_file.builder import Emit, GraphBuilder, rank


def _reshape(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit Flatten, or Reshape with constant sizes: 0 for the batch, or -1 where it is moved."""
    before, after = shape_of(args(node)[0]), shape_of(node)
    source = builder.value(args(node)[0])
    if len(after) == 2 and len(before) > 2 and before[0] == after[0]:
        return builder.add("Flatten", [source], axis=1)
    free = [axis for axis, size in enumerate(after) if not isinstance(size, int)]
    if len(free) > 1:
        raise builder.refusal(f"its shape {after} has several sizes that depend on the batch")
    sizes = [size if isinstance(size, int) else -1 for size in after]
    if free == [0] and before[0] == after[0]:
        sizes[0] = 0
    return builder.add("Reshape", [source, builder.integers("shape", sizes)])


def _permute(builder: GraphBuilder, node: fx.Node) -> str:
    count = rank(args(node)[0])
    order = [axis % count for axis in args(node)[1]]
    return builder.add("Transpose", [builder.value(args(node)[0])], perm=order)


def _transpose(builder: GraphBuilder, node: fx.Node) -> str:
    order = list(range(rank(args(node)[0])))
    first, second = (int(axis) % len(order) for axis in args(node)[1:3])
    order[first], order[second] = order[second], order[first]
    return builder.add("Transpose", [builder.value(args(node)[0])], perm=order)


def _cat(builder: GraphBuilder, node: fx.Node) -> str:
    axis = int(argument(node, 1, "dim", 0)) % rank(node)
    inputs = [builder.value(part) for part in args(node)[0]]
    return builder.add("Concat", inputs, axis=axis)


def _split(builder: GraphBuilder, node: fx.Node) -> str:
    """Emit Split; its outputs are `name`.0 and so on, which `getitem` picks."""
    axis = int(argument(node, 2, "dim", 0)) % rank(args(node)[0])
    sizes = [part.shape[axis] for part in node.meta["val"]]
    if not all(isinstance(size, int) for size in sizes):
        raise builder.refusal("it splits the batch")
    inputs = [builder.value(args(node)[0]), builder.integers("sizes", sizes)]
    return builder.add("Split", inputs, len(sizes), axis=axis)


def _getitem(builder: GraphBuilder, node: fx.Node) -> str:
    source, index = node.args
    assert isinstance(source, fx.Node)  # noqa: S101
    several = source.target in SPLITS
    if not several and index != 0:
        raise builder.refusal(f"it reads output {index} of an operator that has one here")
    return f"{builder.value(source)}.{index}" if several else builder.value(source)


def _slice(builder: GraphBuilder, node: fx.Node) -> str:
    axis = int(argument(node, 1, "dim", 0)) % rank(node)
    start, end = argument(node, 2, "start", 0) or 0, argument(node, 3, "end", None)
    step = argument(node, 4, "step", 1)
    limit = np.iinfo(np.int64).max
    values: list[Any] = [start, limit if end is None else end, axis, step]
    if not all(isinstance(value, int) for value in values):
        raise builder.refusal("it slices by the number of images")
    if values[0] == 0 and values[1] == limit and step == 1:
        return builder.value(args(node)[0])
    names = ("start", "end", "axis", "step")
    inputs = [builder.integers(name, [value]) for name, value in zip(names, values, strict=True)]
    return builder.add("Slice", [builder.value(args(node)[0]), *inputs])


def _select(builder: GraphBuilder, node: fx.Node) -> str:
    axis, index = args(node)[1], args(node)[2]
    if not isinstance(index, int):
        raise builder.refusal("it selects by the number of images")
    position = builder.integers("index", index)
    axis = int(axis) % rank(args(node)[0])
    return builder.add("Gather", [builder.value(args(node)[0]), position], axis=axis)


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _pad(builder: GraphBuilder, node: fx.Node) -> str:
    mode = str(argument(node, 2, "mode", "constant"))
    if mode not in _MODES:
        raise builder.refusal(f"it pads in mode {mode}: expected constant, reflect or replicate")
    return _pad_with(builder, node, _MODES[mode], argument(node, 3, "value", None) or 0.0)


def _constant_pad(builder: GraphBuilder, node: fx.Node) -> str:
    return _pad_with(builder, node, "constant", argument(node, 2, "value", 0.0))


def _pad_in_mode(mode: str) -> Emit:
    return lambda builder, node: _pad_with(builder, node, mode, 0.0)


def _pad_with(builder: GraphBuilder, node: fx.Node, mode: str, value: object) -> str:
    """Emit Pad; torch names the last axis first, and begin and end by turns."""
    given: Sequence[int] = args(node)[1]
    count = rank(node)
    pads = [0] * (2 * count)
    for index in range(len(given) // 2):
        axis = count - 1 - index
        pads[axis], pads[count + axis] = given[2 * index], given[2 * index + 1]
    inputs = [builder.value(args(node)[0]), builder.integers("pads", pads)]
    if mode == "constant" and value:
        inputs.append(builder.constant("value", np.asarray(value, np.float64)))
    return builder.add("Pad", inputs, mode=mode)


SPLITS = {
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.chunk.default,
    aten.unbind.int,
}

OPERATORS: dict[object, Emit] = {
    aten.view.default: _reshape,
    aten._unsafe_view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.flatten.using_ints: _reshape,
    aten.unflatten.int: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.squeeze.default: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.cat.default: _cat,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    aten.chunk.default: _split,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.pad.default: _pad,
    aten.constant_pad_nd.default: _constant_pad,
    aten.reflection_pad1d.default: _pad_in_mode("reflect"),
    aten.reflection_pad2d.default: _pad_in_mode("reflect"),
    aten.replication_pad1d.default: _pad_in_mode("edge"),
    aten.replication_pad2d.default: _pad_in_mode("edge"),
    operator.getitem: _getitem,
}
