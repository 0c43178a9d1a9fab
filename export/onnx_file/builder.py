"""Build an ONNX graph node by node: names, initialisers rounded once, the opset it needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from export.errors import GraphError
from export.folding.functional_graph import call_name, module_of, shape_of

# The lowest opset in which every operator that this one does not name has the meaning it has in
# opset 17. Softmax was the last to change: before, it normalised over all axes from one on.
OPSET = 13
NEWER = {"HardSwish": 14, "LayerNormalization": 17}

Attributes = Mapping[str, Any]
NodeName = Callable[[str, str], str]  # module and operator to a name


def module_name(module: str, operator: str) -> str:
    """Return a node's name: its module's, or its operator's in the network's own forward."""
    return module or operator.lower()


class GraphBuilder:
    """Nodes and initialisers, and which value of the traced graph has which name."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        linear_dtype: type[np.floating] = np.float32,
        node_name: NodeName = module_name,
        reserved: Sequence[str] = (),
    ) -> None:
        """Start an empty graph.

        Args:
            weights: the traced graph's tensors by target, float64.
            linear_dtype: what linear layers compute in and are stored in; all else is float32.
            node_name: how nodes are named.
            reserved: names that no node or tensor gets.
        """
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.exact_weights: dict[str, NDArray[np.float64]] = {}
        self.linear_dtype = linear_dtype
        self.opset = OPSET
        self._weights = weights
        self._node_name = node_name
        self._names = set(reserved)
        self._values: dict[fx.Node, str] = {}
        self._stored: dict[tuple[str, str], str] = {}
        self._current: fx.Node | None = None

    def at(self, node: fx.Node) -> None:
        """Name what is added from now on after this node."""
        self._current = node

    def bind(self, node: fx.Node, value: str) -> None:
        """Give a traced node's value its name in the ONNX graph."""
        self._values[node] = value

    def value(self, argument: object) -> str:
        """Return the name of a node's value; a weight becomes a float32 initialiser."""
        if not isinstance(argument, fx.Node):
            raise self.refusal(f"got {argument!r}, expected a tensor")
        if argument.op == "get_attr":
            return self.weight(argument)
        return self._values[argument]

    def tensor(self, argument: object) -> NDArray[np.float64] | None:
        """Return the numbers of an argument that is a weight; None if it is computed."""
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            exact: NDArray[np.float64] = self._weights[str(argument.target)].numpy()
            return exact
        return None

    def weight(
        self,
        argument: fx.Node,
        dtype: type[np.floating] = np.float32,
        *,
        transposed: bool = False,
    ) -> str:
        """Return the name of a weight, stored in a dtype, and transposed if asked to be."""
        target = str(argument.target)
        key = (target, f"{np.dtype(dtype)} {transposed}")
        if key not in self._stored:
            exact = self.tensor(argument)
            if exact is None or exact.dtype != np.float64:
                raise self.refusal(f"its tensor {target} is not of real numbers")
            layer, _, last = target.rpartition(".")
            name = f"{self._node_name(layer, '')}.{last}" if layer else target
            stored = np.ascontiguousarray(exact.T) if transposed else exact
            self._stored[key] = self._store(name, stored, dtype)
        return self._stored[key]

    def constant(self, name: str, exact: NDArray[np.float64]) -> str:
        """Add a float32 initialiser under the current node's name and this one."""
        return self._store(f"{self._base('')}.{name}", np.asarray(exact, np.float64), np.float32)

    def integers(self, name: str, values: int | Sequence[int]) -> str:
        """Add an int64 initialiser, for shapes, axes and sizes."""
        unique = self.unique(f"{self._base('')}.{name}")
        array = np.asarray(values, np.int64)
        self.initializers.append(numpy_helper.from_array(array, unique))
        return unique

    def reserve(self, operator: str) -> str:
        """Return a name for a node of the current one that is added later."""
        return self.unique(self._base(operator))

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        parts: int | None = None,
        *,
        name: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node and return its name, which is its output's.

        Args:
            operator: the ONNX operator.
            inputs: the names of its inputs.
            parts: the number of outputs, called `name`.0 and so on; None for one, called `name`.
            name: a name that is not taken; else one is found.
            attributes: the node's attributes.
        """
        name = name or self.reserve(operator)
        outputs = [name] if parts is None else [f"{name}.{index}" for index in range(parts)]
        self._names.update(outputs)
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        self.opset = max(self.opset, NEWER.get(operator, OPSET))
        return name

    def cast(self, source: str, dtype: type[np.floating], name: str) -> str:
        """Add a Cast and return the name of its output."""
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", [source], name=name, to=to)

    def refusal(self, reason: str) -> GraphError:
        """Return the error that the current node cannot be emitted."""
        where = call_name(self._current) if self._current is not None else "the graph"
        return GraphError(f"{where} cannot be written as ONNX: {reason}")

    def rename(self, value: str, name: str) -> None:
        """Give a value that a node computes another name, in the node and in its readers."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    if found == value:
                        names[index] = name

    def _base(self, operator: str) -> str:
        if self._current is None:
            return operator.lower()
        name = operator or getattr(self._current.target, "__name__", "tensor").split(".")[0]
        return self._node_name(module_of(self._current), name)

    def _store(self, name: str, exact: NDArray[np.float64], dtype: type[np.floating]) -> str:
        unique = self.unique(name)
        with np.errstate(over="ignore"):
            rounded = exact.astype(dtype)
        if not np.isfinite(rounded).all():
            raise self.refusal(f"{unique} has numbers beyond float32's range")
        self.initializers.append(numpy_helper.from_array(rounded, unique))
        self.exact_weights[unique] = exact
        return unique

    def unique(self, name: str) -> str:
        """Return a name that nothing else has, and keep it."""
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique


def rank(node: Any) -> int:
    """Return the number of axes of a traced value."""
    return len(shape_of(node))


Emit = Callable[[GraphBuilder, fx.Node], str]  # of a traced node; returns its value's name
