"""Operators that are layers: convolutions, products, pools, norms (https://onnx.ai/onnx/operators).

Axes: N images, C channels, and D spatial ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from export.interpreter.node import Function, Node, UnknownOperatorError

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _conv(node: Node, X: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    axes, kernel = X.dim() - 2, list(W.shape[2:])
    node.expect("kernel_shape", kernel)
    strides, dilations = _ones(node, "strides", axes), _ones(node, "dilations", axes)
    before, after = _pads(node, X.shape[2:], kernel, strides, dilations)
    if before != after:
        X, before = _padded(X, before, after, 0.0), [0] * axes
    return CONVOLUTIONS[axes](X, W, b, strides, before, dilations, node.get("group", 1))


def _conv_transpose(node: Node, X: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    axes = X.dim() - 2
    node.expect("kernel_shape", list(W.shape[2:]))
    node.expect("auto_pad", "NOTSET")
    pads = node.get("pads", [0] * 2 * axes)
    if pads[:axes] != pads[axes:]:
        raise UnknownOperatorError(f"ConvTranspose with pads {pads}")
    return TRANSPOSED[axes](
        X,
        W,
        b,
        _ones(node, "strides", axes),
        pads[:axes],
        node.get("output_padding", [0] * axes),
        node.get("group", 1),
        _ones(node, "dilations", axes),
    )


def _max_pool(node: Node, X: Tensor) -> Tensor:
    node.expect("storage_order", 0)
    if node.outputs > 1:
        raise UnknownOperatorError("MaxPool with indices")
    kernel, strides, dilations, before, after = _window(node, X)
    ceil = bool(node.get("ceil_mode", 0))
    if before != after or any(2 * p > k for p, k in zip(before, kernel, strict=True)):
        _no_ceil(node, ceil)
        X, before = _padded(X, before, after, -torch.inf), [0] * len(kernel)
    return MAX_POOLS[len(kernel)](X, kernel, strides, before, dilations, ceil_mode=ceil)


def _average_pool(node: Node, X: Tensor) -> Tensor:
    kernel, strides, dilations, before, after = _window(node, X)
    if any(dilation != 1 for dilation in dilations):
        raise UnknownOperatorError(f"AveragePool with dilations {dilations}")
    ceil, with_pads = bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    pool = AVERAGE_POOLS[len(kernel)]
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        return pool(X, kernel, strides, before, ceil, with_pads)
    _no_ceil(node, ceil)
    sums = pool(_padded(X, before, after, 0.0), kernel, strides)
    inside = _padded(torch.ones_like(X), before, after, 1.0 if with_pads else 0.0)
    return sums / pool(inside, kernel, strides)


def _global_average(_: Node, X: Tensor) -> Tensor:
    return X.mean(dim=list(range(2, X.dim())), keepdim=True)


def _global_max(_: Node, X: Tensor) -> Tensor:
    return X.amax(dim=list(range(2, X.dim())), keepdim=True)


def _gemm(node: Node, A: Tensor, B: Tensor, C: Tensor | None = None) -> Tensor:
    A = A.T if node.get("transA", 0) else A
    B = B.T if node.get("transB", 0) else B
    product = (A @ B).mul(node.get("alpha", 1.0))
    beta = node.get("beta", 1.0)
    return product if C is None else product + C.mul(beta)


def _batch_norm(
    node: Node, X: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    node.expect("training_mode", 0)
    node.expect("spatial", 1)
    node.get("momentum")
    if node.outputs > 1:
        raise UnknownOperatorError("BatchNormalization with several outputs")
    scale = gamma / torch.sqrt(var + node.get("epsilon", 1e-5))  # (C,)
    shape = (-1, *(1,) * (X.dim() - 2))
    return X * scale.reshape(shape) + (beta - mean * scale).reshape(shape)


def _instance_norm(node: Node, X: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return functional.instance_norm(X, None, None, gamma, beta, eps=node.get("epsilon", 1e-5))


def _group_norm(node: Node, X: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    node.get("stash_type")
    groups = node.get("num_groups")
    if node.opset < 21:  # one scale a group
        gamma, beta = (v.repeat_interleave(X.shape[1] // groups) for v in (gamma, beta))
    return functional.group_norm(X, groups, gamma, beta, node.get("epsilon", 1e-5))


def _layer_norm(node: Node, X: Tensor, gamma: Tensor, beta: Tensor | None = None) -> Tensor:
    node.get("stash_type")
    if node.outputs > 1:
        raise UnknownOperatorError("LayerNormalization with several outputs")
    axis = node.get("axis", -1) % X.dim()
    return functional.layer_norm(X, X.shape[axis:], gamma, beta, node.get("epsilon", 1e-5))


def _ones(node: Node, name: str, axes: int) -> list[int]:
    return list(node.get(name, [1] * axes))


def _window(node: Node, X: Tensor) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Return a pool's kernel, strides, dilations, and pads before and after, (D,) each."""
    kernel = list(node.get("kernel_shape"))
    strides, dilations = (_ones(node, name, len(kernel)) for name in ("strides", "dilations"))
    return kernel, strides, dilations, *_pads(node, X.shape[2:], kernel, strides, dilations)


def _pads(
    node: Node,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Return the pads before and after, (D,) each."""
    rule, axes = node.get("auto_pad", "NOTSET"), len(kernel)
    given = list(node.get("pads", [0] * 2 * axes))
    if rule == "NOTSET":
        return given[:axes], given[axes:]
    if rule == "VALID":
        return [0] * axes, [0] * axes
    totals = [
        max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [-(-total // 2) for total in totals]
    return (small, large) if rule == "SAME_UPPER" else (large, small)


def _padded(X: Tensor, before: Sequence[int], after: Sequence[int], value: float) -> Tensor:
    pairs = reversed(list(zip(before, after, strict=True)))
    return functional.pad(X, [amount for pair in pairs for amount in pair], value=value)


def _no_ceil(node: Node, ceil: bool) -> None:
    if ceil:
        raise UnknownOperatorError(f"{node.proto.op_type} with ceil_mode and uneven pads")


LAYERS: dict[str, Function] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda _, A, B: A @ B,
    "MaxPool": _max_pool,
}
