"""Which operators a batch norm can be folded into, and when the two fit together."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from export.folding.functional_graph import FunctionalGraph, aten, call_name, module_of, shape_of

CONVOLUTIONS = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
}
# The positions of `groups` in their arguments.
GROUPS: dict[Any, int] = dict.fromkeys(CONVOLUTIONS, 6) | {
    aten.conv_transpose1d.default: 6,
    aten.conv_transpose2d.input: 6,
    aten.conv_transpose3d.input: 6,
}
TRANSPOSED = GROUPS.keys() - CONVOLUTIONS
PADDING = 4
LINEAR = aten.linear.default
FLATTENS = {aten.view.default, aten.reshape.default, aten.flatten.using_ints}

# Paddings that copy values, so that what is done to every value of a channel may be done before.
COPYING_PADS = {
    aten.reflection_pad1d.default,
    aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.replication_pad1d.default,
    aten.replication_pad2d.default,
    aten.replication_pad3d.default,
}


@dataclass(frozen=True)
class Obstacle:
    """Why no layer on one side can absorb a batch norm, for a sentence about it."""

    reason: str


def is_layer(node: fx.Node) -> bool:
    """Return whether a node is a convolution or a linear layer."""
    return node.target in GROUPS or node.target is LINEAR


def groups(layer: fx.Node) -> int:
    """Return the groups of a convolution; 1 for a linear layer."""
    if layer.target is LINEAR:
        return 1
    return int(argument(layer, GROUPS[layer.target], "groups", 1))


def argument(node: fx.Node, position: int, name: str, default: object) -> Any:
    """Return an argument of an operator's node, by position or name."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def layer_before(flow: FunctionalGraph, norm: fx.Node) -> fx.Node | Obstacle:
    """Return the layer whose outputs a batch norm takes, if it can absorb the batch norm."""
    layer = norm.args[0]
    assert isinstance(layer, fx.Node)  # noqa: S101
    if not is_layer(layer):
        return Obstacle(f"it follows {call_name(layer)}, which is neither a convolution nor linear")
    if len(flow.readers(layer)) > 1:
        readers = ", ".join(map(call_name, flow.readers(layer)))
        return Obstacle(f"it follows {call_name(layer)}, whose output goes to {readers}")
    if not _has_constants(flow, layer):
        return Obstacle(f"it follows {call_name(layer)}, whose weight is computed from the images")
    if layer.target is LINEAR and len(shape_of(layer)) > 2:
        return Obstacle(
            f"it follows {call_name(layer)}, whose features are the last axis, but the batch "
            "norm's channels are axis 1"
        )
    return layer


def layer_after(flow: FunctionalGraph, norm: fx.Node, *, shifts: bool = True) -> fx.Node | Obstacle:
    """Return the one layer that reads a batch norm's outputs, if it can absorb the batch norm.

    Args:
        flow: the graph.
        norm: a node whose value has its channels in axis 1.
        shifts: whether more is absorbed than a factor; zeros that pad are not shifted.
    """
    if len(flow.readers(norm)) != 1:
        readers = ", ".join(map(call_name, flow.readers(norm)))
        return Obstacle(f"its output goes to {readers}")
    (reader,) = flow.readers(norm)
    if _copies(reader) or _flattens(reader):
        return layer_after(flow, reader, shifts=shifts)
    if not is_layer(reader) or reader.args[0] is not norm:
        return Obstacle(
            f"it precedes {call_name(reader)}, which is neither a convolution nor linear"
        )
    if not _has_constants(flow, reader):
        return Obstacle(f"it precedes {call_name(reader)}, whose weight is computed")
    if reader.target is LINEAR:
        if len(shape_of(norm)) > 2:
            return Obstacle(f"it precedes {call_name(reader)}, whose channels are the last axis")
        return reader
    if len(shape_of(norm)) == 2 or reader.target in TRANSPOSED:
        return Obstacle(
            f"it precedes {call_name(reader)}, which is transposed: its outputs at the border sum "
            "fewer inputs, so a shift cannot be a single bias"
        )
    if shifts and _is_padded(reader, flow):
        return Obstacle(
            f"it precedes {call_name(reader)}, whose padding puts zeros where the batch norm "
            "would have put its shift"
        )
    return reader


def _has_constants(flow: FunctionalGraph, layer: fx.Node) -> bool:
    bias = argument(layer, 2, "bias", None)
    return flow.tensor(layer.args[1]) is not None and (
        bias is None or flow.tensor(bias) is not None
    )


def _copies(node: fx.Node) -> bool:
    if node.target in COPYING_PADS:
        return True
    return node.target is aten.pad.default and argument(node, 2, "mode", "constant") != "constant"


def _flattens(node: fx.Node) -> bool:
    """Return whether a node makes (N, C, ...) to (N, C * ...)."""
    if node.target not in FLATTENS:
        return False
    before, after = shape_of(node.args[0]), shape_of(node)
    return len(before) > 2 and len(after) == 2 and before[0] == after[0]


def _is_padded(layer: fx.Node, flow: FunctionalGraph) -> bool:
    padding = argument(layer, PADDING, "padding", 0)
    if isinstance(padding, str):
        weight = flow.tensor(layer.args[1])
        assert weight is not None  # noqa: S101
        return padding == "same" and any(size > 1 for size in weight.shape[2:])
    return any(padding) if isinstance(padding, list | tuple) else bool(padding)


def layer_name(layer: fx.Node) -> str:
    """Return the name for a layer's weights: its module's, or the operator's where it has none."""
    return module_of(layer) or getattr(layer.target, "__name__", "layer").split(".")[0]


def weight_and_bias(flow: FunctionalGraph, layer: fx.Node) -> tuple[Tensor, Tensor | None]:
    """Return a layer's weight and bias."""
    weight = flow.tensor(layer.args[1])
    assert weight is not None  # noqa: S101
    bias = argument(layer, 2, "bias", None)
    return weight, None if bias is None else flow.tensor(bias)


def set_weight_and_bias(
    flow: FunctionalGraph, layer: fx.Node, weight: Tensor, bias: Tensor | None
) -> None:
    """Give a layer a weight and a bias of its own."""
    name = layer_name(layer)
    nodes: list[fx.Node | None] = [flow.add_weight(f"{name}.weight", weight.contiguous(), layer)]
    if bias is not None:
        nodes.append(flow.add_weight(f"{name}.bias", bias, layer))
    rest = list(layer.args[3:])
    if bias is None and (rest or len(layer.args) > 2):
        nodes.append(None)
    layer.args = (layer.args[0], *nodes, *rest)
    layer.kwargs = {key: value for key, value in layer.kwargs.items() if key != "bias"}
    flow.clean()


def is_finite(*tensors: Tensor | None) -> bool:
    """Return whether all numbers are finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor is not None)
