"""Compute a graph in float64: every floating-point number, whatever its type, is a float64.

So a graph's algebra is measured apart from its rounding. Only inference on the default domain's
operators is known, and no control flow; what is not known is named.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from export.interpreter.elementwise import ELEMENTWISE
from export.interpreter.layers import LAYERS
from export.interpreter.node import Node, UnknownOperatorError, tensor
from export.interpreter.shaping import SHAPING

OPERATORS = ELEMENTWISE | LAYERS | SHAPING
DEFAULT_DOMAINS = ("", "ai.onnx")

Watch = Callable[[onnx.NodeProto, str, Tensor], None]  # of a node, its output's name and value


class Float64Graph:
    """A graph whose tensors have been read as float64."""

    def __init__(
        self, proto: onnx.ModelProto, unrounded: Mapping[str, NDArray[np.floating]] | None = None
    ) -> None:
        """Read the graph.

        Args:
            proto: a valid model; external data is loaded.
            unrounded: values for initialisers in place of the graph's own, float64.

        Raises:
            UnknownOperatorError: an operator is not known.
        """
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        self._nodes = list(proto.graph.node)
        self.outputs = [output.name for output in proto.graph.output]
        self._opset = max(o.version for o in proto.opset_import if o.domain in DEFAULT_DOMAINS)
        for node in self._nodes:
            if node.op_type not in OPERATORS or node.domain not in DEFAULT_DOMAINS:
                raise UnknownOperatorError(f"{node.domain}.{node.op_type}".lstrip("."))
        self._tensors = {t.name: tensor(numpy_helper.to_array(t)) for t in proto.graph.initializer}
        self._tensors |= {name: tensor(array) for name, array in (unrounded or {}).items()}
        self._last_use = Counter(name for node in self._nodes for name in node.input)

    def run(self, inputs: Mapping[str, Tensor], output: str, watch: Watch | None = None) -> Tensor:
        """Return one output.

        Args:
            inputs: each input's value; floating-point ones in float64.
            output: the name of the value to return.
            watch: is called with every node's outputs.

        Raises:
            UnknownOperatorError: a form of an operator is not known.
        """
        values: dict[str, Tensor] = {**self._tensors, **inputs}
        left = Counter(self._last_use)
        with torch.no_grad():
            for node in self._nodes:
                results = self._compute(node, values)
                for name, value in zip(node.output, results, strict=False):
                    values[name] = value
                    if watch is not None and name:
                        watch(node, name, value)
                for name in node.input:  # so that no more is kept than the graph still needs
                    left[name] -= 1
                    if not left[name] and name != output:
                        values.pop(name, None)
        return values[output]

    def _compute(self, proto: onnx.NodeProto, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        node = Node(proto, self._opset)
        inputs: list[Any] = [values[name] if name else None for name in proto.input]
        result = OPERATORS[proto.op_type](node, *inputs)
        node.check_all_asked()
        return result if isinstance(result, tuple) else (result,)
