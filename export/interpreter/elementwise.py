"""Operators that work number by number (https://onnx.ai/onnx/operators), and softmax."""

from collections.abc import Callable
from functools import reduce

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor
from torch.nn import functional

from export.interpreter.node import Function, Node, UnknownOperatorError


def _plain(function: Callable[..., Tensor]) -> Function:
    """Return the function of an operator without attributes."""
    return lambda _, *inputs: function(*inputs)


def _div(_: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _clip(
    node: Node, X: Tensor, lowest: Tensor | None = None, highest: Tensor | None = None
) -> Tensor:
    if node.opset < 11:
        return X.clamp(node.get("min"), node.get("max"))
    return X if lowest is None and highest is None else X.clamp(lowest, highest)


def _softmax(node: Node, X: Tensor) -> Tensor:
    if node.opset >= 13:
        return X.softmax(node.get("axis", -1))
    axis = node.get("axis", 1) % X.dim()  # all axes from this one on, as one
    return X.flatten(axis).softmax(axis).reshape(X.shape)


def _log_softmax(node: Node, X: Tensor) -> Tensor:
    return _softmax(node, X).log()


def _hard_sigmoid(node: Node, X: Tensor) -> Tensor:
    return X.mul(node.get("alpha", 0.2)).add(node.get("beta", 0.5)).clamp(0, 1)


def _gelu(node: Node, X: Tensor) -> Tensor:
    return functional.gelu(X, approximate=node.get("approximate", "none"))


def _elu(node: Node, X: Tensor) -> Tensor:
    return functional.elu(X, node.get("alpha", 1.0))


def _celu(node: Node, X: Tensor) -> Tensor:
    return functional.celu(X, node.get("alpha", 1.0))


def _selu(node: Node, X: Tensor) -> Tensor:
    alpha = node.get("alpha", 1.6732632423543772)
    gamma = node.get("gamma", 1.0507009873554805)
    return torch.where(X > 0, X, alpha * X.expm1()).mul(gamma)


def _leaky_relu(node: Node, X: Tensor) -> Tensor:
    return functional.leaky_relu(X, node.get("alpha", 0.01))


def _swish(node: Node, X: Tensor) -> Tensor:
    return X * torch.sigmoid(node.get("alpha", 1.0) * X)


def _prelu(_: Node, X: Tensor, slope: Tensor) -> Tensor:
    return torch.where(X < 0, slope * X, X)


def _dropout(node: Node, X: Tensor, *rest: Tensor | None) -> Tensor | tuple[Tensor, ...]:
    node.expect("is_test", 0, 1)
    node.get("ratio"), node.get("seed")
    if len(rest) > 1 and rest[1] is not None and bool(rest[1]):
        raise UnknownOperatorError("Dropout in training")
    return X if node.outputs == 1 else (X, torch.ones_like(X, dtype=torch.bool))


def _cast(node: Node, X: Tensor) -> Tensor:
    node.get("saturate"), node.get("round_mode")
    return _to(X, node.get("to"))


def _cast_like(node: Node, X: Tensor, target: Tensor) -> Tensor:
    node.get("saturate"), node.get("round_mode")
    return X.to(target.dtype)


def _to(X: Tensor, data_type: int) -> Tensor:
    """Return X cast to a type of ONNX; all floating-point types are float64 here."""
    match data_type:
        case TensorProto.FLOAT | TensorProto.DOUBLE | TensorProto.FLOAT16 | TensorProto.BFLOAT16:
            return X.double()
        case TensorProto.BOOL:
            return X != 0
        case TensorProto.INT32 | TensorProto.INT64:
            return X.long()
    name = onnx.TensorProto.DataType.Name(data_type)
    raise UnknownOperatorError(f"Cast to {name}, {helper.tensor_dtype_to_np_dtype(data_type)}")


ELEMENTWISE: dict[str, Function] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _plain(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _plain(torch.cos),
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _elu,
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _plain(torch.floor),
    "Gelu": _gelu,
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(torch.clone),
    "LeakyRelu": _leaky_relu,
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "LogSoftmax": _log_softmax,
    "Max": lambda _, *inputs: reduce(torch.maximum, inputs),
    "Min": lambda _, *inputs: reduce(torch.minimum, inputs),
    "Mish": _plain(functional.mish),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _plain(torch.pow),
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Selu": _selu,
    "Sigmoid": _plain(torch.sigmoid),
    "Sin": _plain(torch.sin),
    "Softmax": _softmax,
    "Softplus": _plain(lambda X: torch.logaddexp(X, torch.zeros_like(X))),
    "Softsign": _plain(lambda X: X / (1 + X.abs())),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Swish": _swish,
    "Tanh": _plain(torch.tanh),
    "Where": _plain(torch.where),
}
