"""A node of an ONNX graph, as its operator's function sees it."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from export.errors import ExportError

LARGEST_DENOMINATOR = 1000  # of a fraction that an attribute stands for, such as HardSigmoid's 1/6


class UnknownOperatorError(ExportError):
    """The interpreter does not know an operator, or a form of it; `operator` names it."""

    def __init__(self, operator: str) -> None:
        """Name the operator."""
        super().__init__(f"the float64 interpreter does not know {operator}")
        self.operator = operator


class Node:
    """A node's attributes. Those that no function asks for make the node one that is not known."""

    def __init__(self, proto: onnx.NodeProto, opset: int) -> None:
        """Read the attributes; opset is that of the operator's domain."""
        self.proto, self.opset = proto, opset
        self.outputs = len(proto.output)
        self._attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self._asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute: int, float, str, list of them, or Tensor."""
        self._asked.add(name)
        value = self._attributes.get(name, default)
        match value:
            case bytes():
                return value.decode()
            case float() if name in self._attributes:
                return unrounded(value)
            case onnx.TensorProto():
                return tensor(numpy_helper.to_array(value))
        return value

    def expect(self, name: str, *values: Any) -> None:
        """Check that an attribute is absent or has one of these values.

        Raises:
            UnknownOperatorError: it has another one.
        """
        if name in self._attributes and (value := self.get(name)) not in values:
            raise UnknownOperatorError(f"{self.proto.op_type} with {name} {value}")
        self._asked.add(name)

    def check_all_asked(self) -> None:
        """Check that every attribute has been asked for.

        Raises:
            UnknownOperatorError: naming one that was not.
        """
        for name in self._attributes.keys() - self._asked:
            raise UnknownOperatorError(f"{self.proto.op_type} with attribute {name}")


Function = Callable[..., Tensor | tuple[Tensor, ...]]  # of a Node and its inputs


def unrounded(value: float) -> float:
    """Return the number that a float32 attribute stands for: 1/6 for 0.16666667, or 1e-5.

    It is the fraction with a small denominator, else the shortest decimal, that rounds to the same
    float32; so the rounding of attributes to float32 is no error of a graph in float64.
    """
    if not np.isfinite(value):
        return value
    rounded = np.float32(value)
    fraction = float(Fraction(value).limit_denominator(LARGEST_DENOMINATOR))
    return fraction if np.float32(fraction) == rounded else float(str(rounded))


def tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return an array as a tensor, floating-point numbers of any width as float64."""
    if array.dtype.kind in "bui":
        wide = array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array
        return torch.from_numpy(np.array(wide))
    return torch.from_numpy(array.astype(np.float64))
