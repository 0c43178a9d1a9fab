"""Affine maps of channels: batch norms in eval mode, and products and sums with one number each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.fx.node import Argument

from export.errors import FoldError
from export.folding.functional_graph import (
    FunctionalGraph,
    aten,
    call_name,
    module_of,
    modules,
    shape_of,
)
from export.folding.layers import LINEAR

BATCH_NORM = aten._native_batch_norm_legit_no_training.default
OF_THE_BATCH = {  # what batch norm without running statistics is
    aten._native_batch_norm_legit.no_stats,
    aten._native_batch_norm_legit.default,
    aten._native_batch_norm_legit_functional.default,
}


@dataclass(frozen=True)
class AffineMap:
    """z = gamma (y - mean) / sqrt(var + eps) + beta, with tensors (C,) float64."""

    name: str  # of the module
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    eps: float

    @property
    def scale(self) -> Tensor:
        """Return gamma / sqrt(var + eps), (C,)."""
        return self.gamma / torch.sqrt(self.var + self.eps)

    @property
    def shift(self) -> Tensor:
        """Return beta - mean * scale, (C,)."""
        return self.beta - self.mean * self.scale

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        """Return what the functions of `export.folding.absorption` take."""
        return self.gamma, self.beta, self.mean, self.var, self.eps


def batch_norms(flow: FunctionalGraph) -> dict[fx.Node, AffineMap]:
    """Return all batch norms, each by the node of its output, and leave one node for each.

    Raises:
        FoldError: one uses the batch's statistics, or statistics that no data has.
    """
    found = {}
    for node in flow.calls():
        if node.target in OF_THE_BATCH:
            raise FoldError(
                f"{call_name(node)} normalises by each batch's own statistics, in eval mode too: "
                "train it with running statistics"
            )
        if node.target is BATCH_NORM:
            output = next(iter(node.users))  # getitem 0; statistics are not read in eval mode
            output.replace_input_with(node, node.args[0])  # type: ignore[arg-type]
            output.meta = {**output.meta, "nn_module_stack": node.meta.get("nn_module_stack")}
            found[output] = _batch_norm(flow, node)
            output.args = (node.args[0], 0)
            flow.graph.erase_node(node)
    return found


def _batch_norm(flow: FunctionalGraph, node: fx.Node) -> AffineMap:
    name = module_of(node) or node.name
    tensors = [None if value is None else flow.tensor(value) for value in node.args[1:5]]
    gamma, beta, mean, var = tensors
    if mean is None or var is None or tensors.count(None) > list(node.args[1:5]).count(None):
        raise FoldError(f"batch norm {name} has statistics that are computed from the images")
    gamma = torch.ones_like(mean) if gamma is None else gamma
    beta = torch.zeros_like(mean) if beta is None else beta
    eps = float(node.args[6])  # type: ignore[arg-type]
    if float(var.min()) + eps <= 0 or float(var.min()) < 0:
        raise FoldError(
            f"batch norm {name} has a variance of {float(var.min()):g} and an eps of {eps:g}: "
            "expected a variance of 0 or more, and a sum above 0"
        )
    return AffineMap(name, gamma, beta, mean, var, eps)


def constant_map(flow: FunctionalGraph, node: fx.Node) -> AffineMap | None:
    """Return a product or sum of a layer's output and one constant a channel; None if it is not.

    Batch norms of one's own, and scales of layers, are made of these.
    """
    if node.target not in _WAYS or node.kwargs or len(node.args) != 2:
        return None
    source, other = node.args
    if not isinstance(source, fx.Node) or flow.tensor(source) is not None:
        return None
    value, shape = flow.tensor(other), shape_of(source)
    axis = 1 if len(shape) > 2 else len(shape) - 1
    channels = shape[axis]
    if value is None or shape != shape_of(node) or not isinstance(channels, int):
        return None
    wanted = [1] * len(shape)
    wanted[axis] = channels
    given = [1] * (len(shape) - value.dim()) + list(value.shape)
    if given != wanted or (source.target is LINEAR and len(shape) > 2):
        return None
    one, zero = torch.ones(channels, dtype=value.dtype), torch.zeros(channels, dtype=value.dtype)
    way, constant = _WAYS[node.target], value.flatten()
    gamma, beta, mean = {
        "mul": (constant, zero, zero),
        "div": (1 / constant, zero, zero),
        "add": (one, constant, zero),
        "sub": (one, zero, constant),
    }[way]
    name = next((name for name, _ in reversed(list(modules(node))) if name), way)
    return AffineMap(name, gamma, beta, mean, torch.ones_like(one), 0.0)


_WAYS = {
    aten.mul.Tensor: "mul",
    aten.div.Tensor: "div",
    aten.add.Tensor: "add",
    aten.sub.Tensor: "sub",
}


def leave_in_place(flow: FunctionalGraph, norm: fx.Node, map_: AffineMap) -> None:
    """Replace a batch norm by one affine map a channel, in float64.

    Of images (N, C, H, W) it is a convolution of 1 x 1, each channel by itself, since ONNX Runtime
    computes that together with a ReLU after it and in the layout of the convolutions around it: in
    a DenseNet a product and a sum took 1.2 times as long. Otherwise it is a product and a sum.
    """
    source = norm.args[0]
    assert isinstance(source, fx.Node)  # noqa: S101
    channels, rank = len(map_.scale), len(shape_of(source))
    name, shape = map_.name, (-1, *(1,) * (rank - 2))

    def weight(key: str, value: Tensor) -> fx.Node:
        return flow.add_weight(f"{name}.{key}", value, norm)

    def call(function: Callable[..., object], *arguments: Argument) -> fx.Node:
        with flow.graph.inserting_before(norm):
            node = flow.graph.call_function(function, arguments)
        node.meta = dict(norm.meta)
        return node

    if rank == len("NCHW"):
        factors = weight("scale", map_.scale.reshape(channels, 1, 1, 1))
        found = call(
            aten.conv2d.default,
            *(source, factors, weight("shift", map_.shift)),
            *([1, 1], [0, 0], [1, 1], channels),  # stride, padding, dilation, groups
        )
    else:
        product = call(aten.mul.Tensor, source, weight("scale", map_.scale.reshape(shape)))
        found = call(aten.add.Tensor, product, weight("shift", map_.shift.reshape(shape)))
    flow.remove(norm, found)
