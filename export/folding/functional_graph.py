"""A traced network that can be changed: a graph of ATen operators, and its tensors by name."""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

aten = torch.ops.aten

# Checks of torch.export, which compute nothing.
ASSERTIONS = {
    aten._assert_tensor_metadata.default,
    aten._assert_scalar.default,
    aten._assert_async.msg,
    aten.sym_constrain_range.default,
    aten.sym_constrain_range_for_size.default,
}

# Operators that return their first argument's values.
COPIES = {
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
}

# Operators that return their first argument's values if it has the result's shape and dtype.
CONVERSIONS = {
    aten._to_copy.default,
    aten.to.dtype,
    aten.expand.default,
    aten.view.default,
    aten.reshape.default,
}

VIEWS = {aten.view.default, aten._unsafe_view.default}

DROPOUTS = {
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
}

Target = Callable[..., Any]


class FunctionalGraph:
    """A functional graph whose tensors are `get_attr` nodes, each named in `weights`."""

    def __init__(self, graph: fx.Graph, weights: dict[str, Tensor]) -> None:
        """Take a traced graph; drop what computes nothing, and compute what no image changes."""
        self.graph = graph
        self.weights = weights
        self._wanted: dict[str, str] = {}  # the names that added tensors get in the end
        self._drop_assertions()
        self._drop_identities()
        self._compute_constants()
        self._read_batch_size_from_image()

    @property
    def image(self) -> fx.Node:
        """Return the node of the input."""
        found: fx.Node = next(node for node in self.graph.nodes if node.op == "placeholder")
        return found

    def calls(self) -> list[fx.Node]:
        """Return the operators' nodes in order."""
        return [node for node in self.graph.nodes if node.op == "call_function"]

    def tensor(self, argument: object) -> Tensor | None:
        """Return the tensor of an argument that is a weight; None if it is anything else."""
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            return self.weights[str(argument.target)]
        return None

    def add_weight(self, name: str, value: Tensor, before: fx.Node) -> fx.Node:
        """Add a tensor and return its node; `module` gives it this name if it is free then."""
        key = f"{name} {len(self._wanted)}"
        self._wanted[key] = name
        self.weights[key] = value
        with self.graph.inserting_before(before):
            node = self.graph.create_node("get_attr", key, name="constant")
        node.meta["val"] = value
        return node

    def readers(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes that read a node's values, and not only its shape."""
        return [user for user in node.users if user.target is not aten.sym_size.int]

    def remove(self, node: fx.Node, instead: fx.Node) -> None:
        """Give the readers of a node another one, and remove it with the weights that it read."""
        node.replace_all_uses_with(instead)
        self.graph.erase_node(node)
        self.clean()

    def clean(self) -> None:
        """Remove nodes and tensors that nothing reads."""
        for node in reversed(self.graph.nodes):
            if node.op in ("call_function", "get_attr") and not node.users:
                self.graph.erase_node(node)
        read = {node.target for node in self.graph.nodes if node.op == "get_attr"}
        for name in [name for name in self.weights if name not in read]:
            del self.weights[name]

    def module(self) -> fx.GraphModule:
        """Return the graph as a module with its tensors as parameters and buffers."""
        self._move_weights_to_readers()
        tensors: dict[str, Any] = {}
        for node in self.graph.nodes:
            if node.op == "get_attr":
                value = self.weights[str(node.target)]
                node.target = _free_name(self._wanted.get(node.target, node.target), tensors)
                floating = value.is_floating_point()
                tensors[node.target] = nn.Parameter(value, False) if floating else value
        self.weights, self._wanted = dict(tensors), {}
        network = fx.GraphModule(tensors, self.graph, "FoldedNetwork")
        network.graph.lint()
        return network.eval()

    def _move_weights_to_readers(self) -> None:
        for node in self.calls():
            for argument in node.all_input_nodes:
                if argument.op == "get_attr" and next(iter(argument.users)) is node:
                    node.prepend(argument)

    def _read_batch_size_from_image(self) -> None:
        """Let no operator but the first ones be read for its number of images."""
        image = self.image
        for node in self.calls():
            if node.target is aten.sym_size.int and node.args[1] == 0:
                source = node.args[0]
                if shape_of(source)[0] == shape_of(image)[0]:
                    node.args = (image, 0)

    def _drop_assertions(self) -> None:
        for node in reversed(self.calls()):
            if node.target in ASSERTIONS:
                self.graph.erase_node(node)
        self.clean()

    def _drop_identities(self) -> None:
        for node in self.calls():
            if node.target in VIEWS:  # which needs memory that a copy put in order
                node.target = aten.reshape.default
            if _is_identity(node):
                node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
                self.graph.erase_node(node)
        self.clean()

    def _compute_constants(self) -> None:
        """Replace what is computed from weights alone, such as a weight norm, by its value."""
        values: dict[fx.Node, Any] = {}
        for node in self.graph.nodes:
            if node.op == "get_attr":
                values[node] = self.weights[str(node.target)]
            elif _is_deterministic(node) and all(i in values for i in node.all_input_nodes):
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*args, **kwargs)
        for node in self.calls():
            value = values.get(node)
            if isinstance(value, Tensor) and any(user not in values for user in node.users):
                name = ".".join(filter(None, [module_of(node), "constant"]))
                constant = self.add_weight(name, value, node)
                node.replace_all_uses_with(constant)
        self.clean()


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    """Return a name, with a number if it or a part of it is taken, as for a second call."""
    unique, number = name, 0
    while unique in taken or any(key.startswith(f"{unique}.") for key in taken):
        number += 1
        unique = f"{name}_{number}"
    return unique


def _is_identity(node: fx.Node) -> bool:
    if node.target in DROPOUTS:
        return node.args[2] is False
    if node.target in COPIES:
        return True
    if node.target not in CONVERSIONS:
        return False
    before, after = node.args[0].meta.get("val"), node.meta.get("val")  # type: ignore[union-attr]
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return sizes(before) == sizes(after) and before.dtype == after.dtype


def sizes(value: Any) -> tuple[Any, ...]:
    """Return a traced tensor's shape: whole numbers, and text for what changes with the batch."""
    return tuple(size if isinstance(size, int) else str(size) for size in value.shape)


def shape_of(node: Any) -> tuple[Any, ...]:
    """Return the shape of a node's value; see `sizes`."""
    return sizes(node.meta["val"])


def args(node: fx.Node) -> tuple[Any, ...]:
    """Return an operator's arguments by position, whose types its schema has."""
    return node.args


def _is_deterministic(node: fx.Node) -> bool:
    if node.op != "call_function":
        return False
    if node.target is operator.getitem:
        return True
    tags = getattr(node.target, "tags", [torch.Tag.nondeterministic_seeded])
    return torch.Tag.nondeterministic_seeded not in tags


def modules(node: fx.Node) -> Iterator[tuple[str, str]]:
    """Yield the modules whose forward made a node, outermost first: name and type."""
    for name, kind in (node.meta.get("nn_module_stack") or {}).values():
        if name != "_empty_nn_module_stack_from_metadata_hook":
            yield name, kind if isinstance(kind, str) else kind.__qualname__


def module_of(node: fx.Node) -> str:
    """Return the name of the module whose forward made a node; empty for the network itself."""
    names = [name for name, _ in modules(node)]
    return names[-1] if names else ""


def call_name(node: fx.Node) -> str:
    """Return a name for a node in messages: "Conv2d layer1.conv", or "the function cat"."""
    if node.op == "placeholder":
        return "the network's input"
    if node.op == "output":
        return "the network's output"
    operator_name = getattr(node.target, "__name__", str(node.target)).split(".")[0]
    stack = list(modules(node))
    if stack and stack[-1][0]:
        name, kind = stack[-1]
        layer = f"{kind.rsplit('.', 1)[-1]} {name}"
        return layer if operator_name == "getitem" else f"{layer} ({operator_name})"
    return f"the function {operator_name}"
