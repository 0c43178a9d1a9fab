"""Find which layer of a network reads which, by tracing it with torch.fx.

Reed et al., "torch.fx: Practical Program Capture and Transformation for Deep
Learning in Python", 2022, https://arxiv.org/abs/2112.08429.

The forward pass runs once with a symbol for the input, and the calls on it are
recorded as a graph. torch layers and batch norms are one node each; all other
modules are traced into.
"""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import cast

import torch
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from export.errors import FoldError
from export.folding.foldable import (
    BatchNormLike,
    Layer,
    has_hooks,
    is_batch_norm,
    is_layer,
    misfit_after,
    misfit_before,
)

# Functions that compute batch norm without a module.
FUNCTIONAL = {"batch_norm", "native_batch_norm", "_native_batch_norm_legit"}


@dataclass(frozen=True)
class Obstacle:
    """Why a batch norm cannot go into the layer on one side of it."""

    reason: str


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_batch_norm(m) or super().is_leaf_module(m, module_qualified_name)


class Dataflow:
    """A float64 copy of a network and the graph of its layers, from which they can be removed."""

    def __init__(self, model: nn.Module) -> None:
        """Copy and trace a network in eval mode; the network is not modified.

        Raises:
            FoldError: it cannot be copied, torch.fx cannot trace it, or it calls
                batch norm as a function.
        """
        self._chained = isinstance(model, nn.Sequential)
        root = _copy(model).double()
        try:
            graph = _Tracer().trace(root)
        except Exception as error:  # any: the network's own code ran
            raise FoldError(
                f"torch.fx cannot trace this {type(model).__name__}, so what its layers read is "
                f"unknown ({error}): make its forward the same calls for every input"
            ) from error
        self._module = fx.GraphModule(root, graph, type(model).__name__)
        self._calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
        for node in graph.nodes:
            if getattr(node.target, "__name__", node.target) in FUNCTIONAL:
                raise FoldError(
                    f"the network calls {describe(node)} itself: only a batch norm that is a "
                    "module (torch.nn.BatchNorm2d, for one) can be folded"
                )

    def batch_norms(self) -> list[fx.Node]:
        """Return all calls of batch norms, in the order of computation."""
        nodes = self._module.graph.nodes
        return [n for n in nodes if n.op == "call_module" and is_batch_norm(self.module(n))]

    def module(self, node: fx.Node) -> nn.Module:
        """Return the float64 copy of the module that a node calls."""
        return self._module.get_submodule(str(node.target))

    def batch_norm(self, node: fx.Node) -> BatchNormLike:
        """Return the copy of the batch norm that one of `batch_norms` calls."""
        return cast(BatchNormLike, self.module(node))

    def layer(self, node: fx.Node) -> Layer:
        """Return the copy of the layer that a node found by this class calls."""
        return cast(Layer, self.module(node))

    def input(self) -> fx.Node:
        """Return the network's input.

        Raises:
            FoldError: it has several.
        """
        inputs = [node for node in self._module.graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            names = ", ".join(str(node.target) for node in inputs)
            raise FoldError(f"an input scale needs a network of one input, not of {names}")
        (only,) = inputs
        return cast(fx.Node, only)

    def layer_before(self, norm: fx.Node) -> fx.Node | Obstacle:
        """Return the layer whose output only this batch norm reads; dropouts are skipped."""
        node = self._source(norm)
        while self._is_identity(node) and len(node.users) == 1:
            node = self._source(node)
        found = f"it follows {self._name(node)}"
        if not self._is_layer(node):
            return Obstacle(f"{found}, which is neither a convolution nor a linear layer")
        reason = self.not_its_own(node) or self._other_readers(node)
        reason = reason or misfit_after(self.layer(node), self.batch_norm(norm))
        return Obstacle(f"{found}, {reason}") if reason else node

    def layer_after(self, norm: fx.Node) -> fx.Node | Obstacle:
        """Return the only layer that reads this batch norm's output, flattened or not."""
        found = self.reader(norm)
        if isinstance(found, Obstacle):
            return found
        node, flattened = found
        reason = misfit_before(self.batch_norm(norm), self.layer(node), flattened)
        return Obstacle(f"it precedes {self._name(node)}, {reason}") if reason else node

    def reader(self, source: fx.Node) -> tuple[fx.Node, bool] | Obstacle:
        """Return the only layer that reads a node's output, and whether it is flattened before."""
        node, flattened = source, False
        while True:
            if len(node.users) != 1:
                readers = ", ".join(map(self._name, node.users)) or "nothing"
                return Obstacle(f"its output goes to {readers}: it must go to one layer")
            (node,) = node.users
            flatten = self._is_flatten(node)
            flattened = flattened or flatten
            if not flatten and not self._is_identity(node):
                break
        found = f"it precedes {self._name(node)}"
        if not self._is_layer(node):
            return Obstacle(f"{found}, which is neither a convolution nor a linear layer")
        reason = self.not_its_own(node)
        return Obstacle(f"{found}, {reason}") if reason else (node, flattened)

    def not_its_own(self, node: fx.Node) -> str | None:
        """Return why changing this node's module would change more than this node."""
        if self._calls[node.target] > 1:
            return f"which is called {self._calls[node.target]} times: give each place its own"
        for other in self._module.graph.nodes:
            if other.op == "get_attr" and str(other.target).startswith(f"{node.target}."):
                return f"whose {other.target} the network also reads by itself"
        if has_hooks(self.module(node)):
            return "which has hooks that change what it computes: remove them first"
        return None

    def remove(self, node: fx.Node) -> None:
        """Remove a node: the readers of its output read its input instead."""
        node.replace_all_uses_with(self._source(node))
        self._module.graph.erase_node(node)

    def network(self) -> nn.Sequential | fx.GraphModule:
        """Return the remaining network: an nn.Sequential if it was one, else a GraphModule.

        A Sequential that is not a chain of layers, because one of its modules
        branches, is returned as a Sequential of one GraphModule.
        """
        self._module.graph.lint()
        self._module.delete_all_unused_submodules()
        self._module.recompile()
        if not self._chained:
            return self._module.eval()
        _, *calls, output = self._module.graph.nodes
        inputs = [list(node.all_input_nodes) for node in (*calls, output)]
        chain = [[node] for node in list(self._module.graph.nodes)[:-1]]
        if inputs == chain and all(node.op == "call_module" for node in calls):
            return nn.Sequential(*map(self.module, calls)).eval()
        return nn.Sequential(self._module).eval()

    def _source(self, node: fx.Node) -> fx.Node:
        return node.all_input_nodes[0]

    def _is_layer(self, node: fx.Node) -> bool:
        return node.op == "call_module" and is_layer(self.module(node))

    def _is_identity(self, node: fx.Node) -> bool:
        """Return whether a node does nothing in eval mode."""
        return node.op == "call_module" and isinstance(self.module(node), nn.Identity | _DropoutNd)

    def _is_flatten(self, node: fx.Node) -> bool:
        """Return whether a node flattens (N, C, ...) to (N, C * ...), channel by channel."""
        if node.op == "call_module":
            module = self.module(node)
            return isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
        return node.target in (torch.flatten, "flatten") and (node.args[1:], node.kwargs) == (
            (1,),
            {},
        )

    def _other_readers(self, node: fx.Node) -> str | None:
        if len(node.users) == 1:
            return None
        return f"whose output goes to {', '.join(map(self._name, node.users))}"

    def _name(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{type(self.module(node)).__name__} {node.target}"
        return describe(node)


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:  # a weight is computed and is not a parameter
        raise FoldError(
            f"this {type(model).__name__} cannot be copied ({error}): make pruning and weight "
            "normalisation permanent first (torch.nn.utils.prune.remove, remove_weight_norm)"
        ) from error


def describe(node: fx.Node) -> str:
    """Return a name for a node that does not call a module."""
    match node.op:
        case "placeholder":
            return "the network's input"
        case "output":
            return "the network's output"
        case "get_attr":
            return f"the tensor {node.target}"
    return f"the function {getattr(node.target, '__name__', node.target)}"
