"""Operators that move numbers, make them, or reduce axes (https://onnx.ai/onnx/operators)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from export.interpreter.node import Function, Node, UnknownOperatorError


def _ints(values: Tensor | Sequence[int]) -> list[int]:
    return [int(value) for value in values]


def _given(node: Node, name: str, value: Tensor | None, since: int) -> list[int] | None:
    """Return integers that are an input since an opset, and an attribute before."""
    if node.opset < since:
        value = node.get(name)
    return None if value is None else _ints(value)


def _constant(node: Node) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if (value := node.get(name)) is not None:
            if isinstance(value, Tensor):
                return value
            dtype = torch.float64 if "float" in name else torch.int64
            return torch.tensor(value, dtype=dtype)
    raise UnknownOperatorError("Constant of another kind")


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value", torch.zeros(1, dtype=torch.float64))
    return value.reshape(()).expand(_ints(shape)).clone()  # type: ignore[no-any-return]


def _shape(node: Node, X: Tensor) -> Tensor:
    return torch.tensor(X.shape[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def _reshape(node: Node, X: Tensor, shape: Tensor) -> Tensor:
    keeps_zero = node.get("allowzero", 0)
    sizes = _ints(shape)
    return X.reshape(
        [X.shape[axis] if n == 0 and not keeps_zero else n for axis, n in enumerate(sizes)]
    )


def _flatten(node: Node, X: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    before = X.shape[: axis if axis >= 0 else X.dim() + axis]
    return X.reshape(int(torch.tensor(before).prod()), -1)


def _transpose(node: Node, X: Tensor) -> Tensor:
    return X.permute(node.get("perm", list(reversed(range(X.dim())))))


def _concat(node: Node, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, dim=node.get("axis"))


def _split(node: Node, X: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, pieces = node.get("axis", 0), node.get("num_outputs", node.outputs)
    given = _given(node, "split", sizes, 13)
    return torch.split(X, given or -(-X.shape[axis] // pieces), dim=axis)


def _slice(node: Node, X: Tensor, *bounds: Tensor | None) -> Tensor:
    names = ("starts", "ends", "axes", "steps")
    given = [*bounds, *(None,) * (4 - len(bounds))]
    if node.opset < 10:
        given = [node.get(name) for name in names[:3]] + [None]
    starts, ends, axes, steps = (None if value is None else _ints(value) for value in given)
    for index, (start, end) in enumerate(zip(starts or (), ends or (), strict=True)):
        axis, step = axes[index] if axes else index, steps[index] if steps else 1
        chosen = range(X.shape[axis])[start:end:step]  # clamps as the specification says
        X = X.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64))
    return X


def _gather(node: Node, X: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % X.dim()
    wrapped = torch.where(indices < 0, indices + X.shape[axis], indices)
    chosen = X.index_select(axis, wrapped.reshape(-1).long())
    return chosen.reshape((*X.shape[:axis], *indices.shape, *X.shape[axis + 1 :]))


def _squeeze(node: Node, X: Tensor, axes: Tensor | None = None) -> Tensor:
    given = _given(node, "axes", axes, 13)
    return X.squeeze() if given is None else X.squeeze(given)


def _unsqueeze(node: Node, X: Tensor, axes: Tensor | None = None) -> Tensor:
    given = _given(node, "axes", axes, 13) or []
    for axis in sorted(axis % (X.dim() + len(given)) for axis in given):
        X = X.unsqueeze(axis)
    return X


def _expand(_: Node, X: Tensor, shape: Tensor) -> Tensor:
    return (
        X + torch.zeros(_ints(shape), dtype=X.dtype)
        if X.dtype != torch.bool
        else (X | torch.zeros(_ints(shape), dtype=torch.bool))
    )


def _tile(_: Node, X: Tensor, repeats: Tensor) -> Tensor:
    return X.repeat(_ints(repeats))


def _range(_: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _pad(
    node: Node,
    X: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    node.expect("mode", "constant")
    given = _given(node, "pads", pads, 11) or []
    fill = node.get("value", 0.0) if node.opset < 11 else 0.0 if value is None else value.item()
    over = [axis % X.dim() for axis in _ints(axes)] if axes is not None else list(range(X.dim()))
    each = [(0, 0)] * X.dim()
    for index, axis in enumerate(over):
        each[axis] = given[index], given[index + len(over)]
    flat = [amount for pair in reversed(each) for amount in pair]
    return functional.pad(X, flat, value=fill)


def _reduction(reduce: Callable[[Tensor, list[int], bool], Tensor], since: int) -> Function:
    def function(node: Node, X: Tensor, axes: Tensor | None = None) -> Tensor:
        given, keep = _given(node, "axes", axes, since), bool(node.get("keepdims", 1))
        empty_is_none = node.get("noop_with_empty_axes", 0)
        if not given and empty_is_none:
            return X
        return reduce(X, given or list(range(X.dim())), keep)

    return function


SHAPING: dict[str, Function] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "ReduceL2": _reduction(lambda X, axes, keep: X.square().sum(axes, keep).sqrt(), 18),
    "ReduceMax": _reduction(lambda X, axes, keep: X.amax(axes, keep), 18),
    "ReduceMean": _reduction(lambda X, axes, keep: X.mean(axes, keep), 18),
    "ReduceMin": _reduction(lambda X, axes, keep: X.amin(axes, keep), 18),
    "ReduceSum": _reduction(lambda X, axes, keep: X.sum(axes, keep), 13),
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda _, X: torch.tensor(X.numel()),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
