"""Fold every batch norm of a network into a neighbouring layer, or leave it as one affine map.

export/folding/tracing.py makes the graph, export/folding/layers.py finds the layers,
export/folding/absorption.py has the mathematics, export/folding/comparison.py checks the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx, nn

from export.errors import FoldError
from export.folding.absorption import fold_batch_norm, fold_batch_norm_before
from export.folding.affine import AffineMap, batch_norms, constant_map, leave_in_place
from export.folding.comparison import check_same
from export.folding.conditioning import Conditioning, conditioning
from export.folding.functional_graph import FunctionalGraph, aten, shape_of
from export.folding.layers import (
    TRANSPOSED,
    Obstacle,
    groups,
    is_finite,
    layer_after,
    layer_before,
    layer_name,
    set_weight_and_bias,
    weight_and_bias,
)
from export.folding.normalization import Normalization
from export.folding.tracing import EXAMPLES, float64_copy, trace


@dataclass(frozen=True)
class Step:
    """One batch norm and the layer that absorbed it."""

    norm: str
    layer: str
    side: Literal["after", "before"]  # position of the batch norm relative to the layer
    conditioning: Conditioning

    def __str__(self) -> str:
        """Return the step on one line."""
        return f"{self.norm}, {self.side} {self.layer}, is folded into it: {self.conditioning}"


@dataclass(frozen=True)
class LeftOver:
    """One batch norm that no layer can absorb: one factor and one summand a channel."""

    norm: str
    reason: str

    def __str__(self) -> str:
        """Return the reason on one line."""
        return f"{self.norm} stays as one affine map a channel: {self.reason}"


@dataclass(frozen=True)
class Folding:
    """A folded network, and what became of each batch norm, in the order of the batch norms."""

    network: fx.GraphModule
    steps: tuple[Step, ...]
    left_over: tuple[LeftOver, ...] = ()

    def __str__(self) -> str:
        """Return one line for each batch norm."""
        lines = [*self.steps, *self.left_over]
        return "\n".join(map(str, lines)) or "there is no batch norm to fold"


def fold(
    model: nn.Module, example: Tensor, normalization: Normalization | None = None
) -> fx.GraphModule:
    """Fold every batch norm of a network into a neighbouring layer.

    Batch norms are torch's of any number of dimensions and `training.batch_norm.BatchNorm`; layers
    are Linear and all convolutions of torch, as modules or functions. Each batch norm is folded
    into the layer before it or, if that is impossible, into the one after it. What no layer can
    absorb becomes a product and a sum with one number a channel. Products and sums of that kind
    that follow a layer are folded too.

    Args:
        model: a network in eval mode; it is not modified. DataParallel and torch.compile around
            it are taken off.
        example: (N, ...) an input with a batch axis; its numbers do not matter. The result takes
            any N, and other sizes as they are here.
        normalization: if given, the result takes an image's bytes (N, C, ...) as floats, and
            normalises them first. Its factor goes into the first layer if one can take it.

    Returns:
        A new network in float64 and eval mode without batch norms: a functional graph of ATen
        operators. The caller rounds it once to float32.

    Raises:
        FoldError: a part of the network is in train mode, torch.export cannot trace it, a batch
            norm has no statistics, or the result is not the network on random inputs.
    """
    return fold_with_report(model, example, normalization).network


def fold_with_report(
    model: nn.Module, example: Tensor, normalization: Normalization | None = None
) -> Folding:
    """Return the network that `fold` returns, and what became of each batch norm."""
    original = float64_copy(model)
    example = example.detach().to("cpu", torch.float64)
    repeats = -(-EXAMPLES // max(len(example), 1))
    example = torch.cat([example] * repeats)
    flow = FunctionalGraph(*trace(float64_copy(model), example))
    with torch.no_grad():
        steps, left_over = _fold_norms(flow)
        if normalization is not None:
            _normalize(flow, *normalization.factors(example.shape[1]))
        network = flow.module()
        check_same(original, network, example, normalization)
    return Folding(network, steps, left_over)


def _fold_norms(flow: FunctionalGraph) -> tuple[tuple[Step, ...], tuple[LeftOver, ...]]:
    norms = batch_norms(flow)
    results: dict[fx.Node, Step | LeftOver] = {}
    waiting: dict[fx.Node, Obstacle] = {}
    for node in flow.calls():
        map_ = norms.get(node) or constant_map(flow, node)
        if map_ is None:
            continue
        layer = layer_before(flow, node)
        if isinstance(layer, fx.Node):
            step = _absorb(flow, node, map_, layer, "after")
            if node in norms:
                results[node] = step
        elif node in norms:
            waiting[node] = layer
    for node, before in reversed(waiting.items()):
        layer = layer_after(flow, node)
        if isinstance(layer, fx.Node):
            results[node] = _absorb(flow, node, norms[node], layer, "before")
        else:
            reason = f"{before.reason}; and {layer.reason}"
            results[node] = LeftOver(norms[node].name, reason)
            leave_in_place(flow, node, norms[node])
    ordered = [results[node] for node in norms]
    return (
        tuple(item for item in ordered if isinstance(item, Step)),
        tuple(item for item in ordered if isinstance(item, LeftOver)),
    )


def _absorb(
    flow: FunctionalGraph,
    node: fx.Node,
    map_: AffineMap,
    layer: fx.Node,
    side: Literal["after", "before"],
) -> Step:
    """Fold an affine map into a layer, and remove it from the graph."""
    weight, bias = weight_and_bias(flow, layer)
    if side == "before":
        weight, bias = fold_batch_norm_before(weight, bias, *map_.arguments, groups=groups(layer))
    else:
        transposed = groups(layer) if layer.target in TRANSPOSED else None
        weight, bias = fold_batch_norm(weight, bias, *map_.arguments, transposed_groups=transposed)
    if not is_finite(weight, bias):
        raise FoldError(
            f"batch norm {map_.name} makes numbers of layer {layer_name(layer)} too large for "
            "float64: no trained network has such scales; train it again"
        )
    set_weight_and_bias(flow, layer, weight, bias)
    if side == "after":
        layer.meta = {**layer.meta, "absorbed": map_.name}
    flow.remove(node, node.args[0])  # type: ignore[arg-type]
    return Step(map_.name, layer_name(layer), side, conditioning(map_.gamma, map_.scale))


def _normalize(flow: FunctionalGraph, mean: Tensor, scale: Tensor) -> None:
    """Put (bytes - mean) scale in front; a first layer takes the scale into its weights.

    The mean is never moved into a bias: zeros that pad are not shifted by it.
    """
    last = flow.image
    if mean.any():
        last = _insert_after(flow, last, aten.sub.Tensor, "mean", mean)
    last = _insert_after(flow, last, aten.mul.Tensor, "scale", scale)
    layer = layer_after(flow, last, shifts=False)
    if isinstance(layer, fx.Node):
        weight, bias = weight_and_bias(flow, layer)
        one, zero = torch.ones_like(scale), torch.zeros_like(scale)
        weight, _ = fold_batch_norm_before(
            weight, None, scale, zero, zero, one, 0.0, groups=groups(layer)
        )
        set_weight_and_bias(flow, layer, weight, bias)
        flow.remove(last, last.args[0])  # type: ignore[arg-type]


def _insert_after(
    flow: FunctionalGraph, source: fx.Node, target: Callable[..., Tensor], name: str, value: Tensor
) -> fx.Node:
    """Insert an operator with one number a channel between a node and all its readers."""
    ones = (1,) * (len(shape_of(source)) - 2)
    readers = flow.readers(source)
    constant = flow.add_weight(f"image.{name}", value.reshape(-1, *ones), source.next)
    with flow.graph.inserting_after(constant):
        new = flow.graph.call_function(target, (source, constant))
    new.meta = {"val": source.meta["val"]}
    for reader in readers:
        reader.replace_input_with(source, new)
    return new
