"""Every operator of the interpreter against onnx's reference evaluator, in float64."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.interpreter.graph import OPERATORS, Float64Graph
from export.interpreter.node import UnknownOperatorError, tensor

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.5, 2.0, shape)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X = normal(2, 4, 7, 6)
V = normal(2, 5, 3)
BOOLS = np.array([[True, False], [False, True]])
NORM = (normal(4), normal(4))

# The evaluator computes these with constants, or wholly, in float32.
ROUNDED = {"Erf", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Selu"}

# operator, attributes, inputs, opset
CASES: list[tuple[str, dict[str, Any], list[np.ndarray | None], int]] = [
    *((name, {}, [V], 18) for name in ("Abs", "Ceil", "Exp", "Erf", "Floor", "Neg", "Relu")),
    *((name, {}, [V], 18) for name in ("Sigmoid", "Softplus", "Softsign", "Tanh", "Identity")),
    *((name, {}, [V], 18) for name in ("HardSwish", "Mish", "Sin", "Cos", "Dropout")),
    *((name, {}, [positive(2, 3)], 18) for name in ("Log", "Reciprocal", "Sqrt")),
    *((name, {}, [V, V[:1, :, :1]], 18) for name in ("Add", "Sub", "Mul", "Div")),
    *((name, {}, [V, normal(5, 3)], 18) for name in ("Max", "Min", "Greater", "Less")),
    *((name, {}, [ints(1, 2, 3), ints(3, 2, 1)], 18) for name in ("Equal", "GreaterOrEqual")),
    ("LessOrEqual", {}, [ints(1, 2, 3), ints(3, 2, 1)], 18),
    ("Div", {}, [ints(7, -7), ints(2, 2)], 18),
    ("Pow", {}, [positive(2, 3), np.array(3.0)], 18),
    *((name, {}, [BOOLS, BOOLS.T[::-1].copy()], 18) for name in ("And", "Or")),
    ("Not", {}, [BOOLS], 18),
    ("Where", {}, [BOOLS, normal(2, 2), normal(1, 2)], 18),
    ("Clip", {}, [V, np.array(-0.5), np.array(0.5)], 18),
    ("Clip", {}, [V, None, np.array(0.5)], 18),
    ("Clip", {"min": -0.5, "max": 0.25}, [V], 6),
    ("HardSigmoid", {}, [V], 18),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.5}, [V], 18),
    *(("Gelu", {"approximate": kind}, [V], 20) for kind in ("none", "tanh")),
    *((name, {"alpha": 0.5}, [V], 18) for name in ("Elu", "Celu", "LeakyRelu")),
    ("Selu", {}, [V], 18),
    ("PRelu", {}, [X, normal(4, 1, 1)], 18),
    ("Softmax", {"axis": 1}, [V], 18),
    ("LogSoftmax", {}, [V], 18),
    ("Cast", {"to": 7}, [V * 3], 18),
    ("Cast", {"to": 11}, [ints(1, 2)], 18),
    ("Cast", {"to": 9}, [ints(1, 0)], 18),
    ("CastLike", {}, [V * 3, ints(1)], 18),
    # Shapes
    ("Concat", {"axis": -1}, [V, V[..., :2]], 18),
    ("Constant", {"value_floats": [1.0, 2.5]}, [], 18),
    ("Constant", {"value": numpy_helper.from_array(normal(2, 3))}, [], 18),
    ("Constant", {"value_int": 3}, [], 18),
    ("ConstantOfShape", {"value": numpy_helper.from_array(np.array([2.5]))}, [ints(2, 3)], 18),
    ("Expand", {}, [V[:, :1], ints(5, 1)], 18),
    ("Flatten", {}, [X], 18),
    ("Flatten", {"axis": 2}, [X], 18),
    ("Gather", {"axis": 1}, [V, np.array([[0, -1], [2, 1]])], 18),
    ("Gather", {}, [ints(4, 5, 6), np.array(1)], 18),
    ("Pad", {"mode": "constant"}, [V, ints(0, 1, 2, 0, 0, 1), np.array(1.5)], 18),
    ("Pad", {}, [V, ints(1, 2), None, ints(-1)], 18),
    ("Range", {}, [ints(1), ints(9), ints(3)], 18),
    ("Reshape", {}, [V, ints(0, -1)], 18),
    ("Shape", {}, [V], 18),
    ("Shape", {"start": 1, "end": -1}, [X], 18),
    ("Size", {}, [V], 18),
    ("Slice", {}, [X, ints(1, -3), ints(3, 2**62), ints(1, -1)], 18),
    ("Slice", {}, [V, ints(-1), ints(-9), ints(1), ints(-2)], 18),
    ("Slice", {"starts": [1], "ends": [4], "axes": [1]}, [V], 9),
    ("Split", {"axis": 1}, [V, ints(2, 3)], 18),
    ("Squeeze", {}, [V[:, :1], ints(1)], 18),
    ("Squeeze", {"axes": [1]}, [V[:, :1]], 11),
    ("Tile", {}, [V, ints(1, 2, 2)], 18),
    ("Transpose", {"perm": [2, 0, 1]}, [V], 18),
    ("Transpose", {}, [V], 18),
    ("Unsqueeze", {}, [V, ints(0, -1)], 18),
    ("Unsqueeze", {"axes": [1]}, [V], 11),
    *(
        (name, {"keepdims": keep}, [X, ints(2, 3)], 18)
        for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
        for keep in (0, 1)
    ),
    ("ReduceMean", {"axes": [-1]}, [X], 13),
    ("ReduceSum", {}, [X], 18),
    # Layers
    ("Conv", {"pads": [1] * 4, "strides": [2, 1]}, [X, normal(6, 4, 3, 3), normal(6)], 18),
    ("Conv", {"group": 2, "dilations": [2, 1]}, [X, normal(6, 2, 2, 3)], 18),
    ("Conv", {"pads": [0, 1, 2, 0]}, [X, normal(3, 4, 3, 3)], 18),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [X, normal(3, 4, 3, 3)], 18),
    ("Conv", {"auto_pad": "SAME_LOWER"}, [X, normal(3, 4, 2, 2)], 18),
    ("Conv", {"auto_pad": "VALID"}, [V, normal(2, 5, 2)], 18),
    ("ConvTranspose", {"strides": [2, 2], "pads": [1] * 4}, [X, normal(4, 3, 3, 3)], 18),
    ("Gemm", {"transB": 1, "alpha": 0.5, "beta": 2.0}, [V[0], normal(4, 3), normal(4)], 18),
    ("Gemm", {"transA": 1}, [V[0], normal(5, 2)], 18),
    ("MatMul", {}, [V, normal(3, 4)], 18),
    ("BatchNormalization", {"epsilon": 0.125}, [X, *NORM, normal(4), positive(4)], 15),
    ("InstanceNormalization", {"epsilon": 0.125}, [X, *NORM], 18),
    ("GroupNormalization", {"num_groups": 2}, [X, *NORM], 21),
    ("LayerNormalization", {"axis": -2, "epsilon": 0.125}, [V, normal(5, 3), normal(5, 3)], 18),
    ("LayerNormalization", {"epsilon": 0.125}, [V, normal(3)], 18),
    ("GlobalAveragePool", {}, [X], 18),
    ("GlobalMaxPool", {}, [X], 18),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}, [X], 18),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, [X], 18),
    ("MaxPool", {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}, [X], 18),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [X], 18),
    *(
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": n}, [X], 18)
        for n in (0, 1)
    ),
    ("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, [X], 18),
]


def model(
    operator: str,
    attributes: dict[str, Any],
    inputs: list[np.ndarray | None],
    opset: int,
    outputs: int = 1,
) -> onnx.ModelProto:
    """A graph of one node."""
    names = ["" if value is None else f"in{index}" for index, value in enumerate(inputs)]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, inputs, strict=True)
        if value is not None
    ]
    out = [f"out{index}" for index in range(outputs)]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node(operator, names, out, **attributes)],
            "one",
            infos,
            [helper.make_empty_tensor_value_info(name) for name in out],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )


def feeds(inputs: list[np.ndarray | None]) -> dict[str, np.ndarray]:
    return {f"in{index}": value for index, value in enumerate(inputs) if value is not None}


@pytest.mark.parametrize(
    ("operator", "attributes", "inputs", "opset"), CASES, ids=[case[0] for case in CASES]
)
def test_an_operator_is_the_reference_evaluators(
    operator: str, attributes: dict[str, Any], inputs: list[np.ndarray | None], opset: int
) -> None:
    outputs = 2 if operator == "Split" else 1
    proto = model(operator, attributes, inputs, opset, outputs)
    right = ReferenceEvaluator(proto).run(None, feeds(inputs))
    graph = Float64Graph(proto)
    given = {name: tensor(value) for name, value in feeds(inputs).items()}
    for index, expected in enumerate(right):
        found = graph.run(given, f"out{index}").numpy()
        assert found.shape == np.shape(expected)
        assert found.dtype.kind == np.asarray(expected).dtype.kind
        tolerance = 1e-6 if operator in ROUNDED else 1e-12
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_every_operator_has_a_case() -> None:
    covered = {case[0] for case in CASES} | {"Swish"}  # which the evaluator has not
    assert covered == set(OPERATORS)


def test_what_the_evaluator_rounds_is_as_torch_has_it() -> None:
    x, functional = torch.from_numpy(V), torch.nn.functional
    for operator, attributes, right in (
        ("Erf", {}, torch.special.erf(x)),
        ("Gelu", {}, functional.gelu(x)),
        ("Gelu", {"approximate": "tanh"}, functional.gelu(x, approximate="tanh")),
        ("HardSigmoid", {"alpha": 1 / 6}, functional.hardsigmoid(x)),
        ("HardSwish", {}, functional.hardswish(x)),
        ("Selu", {}, functional.selu(x)),
    ):
        found = Float64Graph(model(operator, attributes, [V], 20)).run({"in0": x}, "out0")
        np.testing.assert_allclose(found, right, rtol=1e-14, atol=1e-15)


def test_softmax_of_old_opsets_is_over_all_axes_from_one_on() -> None:
    """The evaluator uses the new definition for every opset."""
    found = Float64Graph(model("Softmax", {}, [V], 11)).run({"in0": torch.from_numpy(V)}, "out0")
    right = np.exp(V) / np.exp(V).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-14)


def test_swish_is_as_the_specification_says() -> None:
    proto = model("Swish", {"alpha": 0.5}, [V], 24)
    found = Float64Graph(proto).run({"in0": torch.from_numpy(V)}, "out0")
    np.testing.assert_allclose(found, V / (1 + np.exp(-0.5 * V)), rtol=1e-12)


@pytest.mark.parametrize(
    ("operator", "attributes", "inputs", "message"),
    [
        ("Det", {}, [normal(2, 2)], "does not know Det"),
        ("Dropout", {}, [V, np.array(0.5), np.array(True)], "does not know Dropout in training"),
        ("Pad", {"mode": "reflect"}, [V, ints(0, 0, 1, 0, 0, 1)], "does not know Pad with mode"),
        ("Cast", {"to": 2}, [V], "does not know Cast to UINT8"),
        ("MaxPool", {"kernel_shape": [2, 2], "storage_order": 1}, [X], "storage_order 1"),
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "ceil_mode": 1, "pads": [0, 0, 1, 1]},
            [X],
            "does not know AveragePool with ceil_mode and uneven pads",
        ),
        ("Relu", {"surprise": 1}, [V], "does not know Relu with attribute surprise"),
    ],
)
def test_what_is_not_known_is_named(
    operator: str, attributes: dict[str, Any], inputs: list[np.ndarray], message: str
) -> None:
    proto = model(operator, attributes, inputs, 18)
    given = {name: tensor(value) for name, value in feeds(inputs).items()}
    with pytest.raises(UnknownOperatorError) as caught:
        Float64Graph(proto).run(given, "out0")
    assert message in str(caught.value)
