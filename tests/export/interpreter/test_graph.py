"""Whole graphs in float64."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from export.interpreter.graph import Float64Graph
from export.interpreter.node import UnknownOperatorError, unrounded

TEXT = """
<ir_version: 8, opset_import: ["" : 18, "local" : 1]>
two (float[N, 3] x) => (float[N, 2] y)
<float[3, 2] w>
{
    doubled = local.Twice (x)
    h = MatMul (doubled, w)
    r = Relu (h)
    y = Add (r, h)
}
<domain: "local", opset_import: ["" : 18]>
Twice (a) => (b) { b = Add (a, a) }
"""
WEIGHT = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
INPUT = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def proto() -> onnx.ModelProto:
    found = parser.parse_model(TEXT)
    del found.graph.initializer[:]
    found.graph.initializer.append(numpy_helper.from_array(WEIGHT, "w"))
    return found


def test_a_graph_with_functions(proto: onnx.ModelProto) -> None:
    found = Float64Graph(proto).run({"x": torch.from_numpy(INPUT).double()}, "y")
    h = 2 * INPUT.astype(np.float64) @ WEIGHT.astype(np.float64)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, np.maximum(h, 0) + h, rtol=1e-14)
    (rounded,) = ReferenceEvaluator(proto).run(None, {"x": INPUT})
    np.testing.assert_allclose(found, rounded, rtol=1e-5, atol=1e-6)


def test_values_that_were_not_rounded_take_the_place_of_the_graphs_own(
    proto: onnx.ModelProto,
) -> None:
    exact = WEIGHT.astype(np.float64) * (1 + 1e-9)
    found = Float64Graph(proto, {"w": exact})
    x = torch.from_numpy(INPUT).double()
    np.testing.assert_allclose(
        found.run({"x": x}, "h").numpy(),
        2 * INPUT.astype(np.float64) @ exact,
        rtol=1e-15,
        atol=1e-15,
    )


def test_every_value_can_be_watched(proto: onnx.ModelProto) -> None:
    seen: dict[str, tuple[int, ...]] = {}
    x = torch.from_numpy(INPUT).double()
    Float64Graph(proto).run(
        {"x": x}, "y", lambda node, name, value: seen.update({name: value.shape})
    )
    assert list(seen.values()) == [(4, 3), (4, 2), (4, 2), (4, 2)]
    assert list(seen)[1:] == ["h", "r", "y"]


def test_an_inner_value_can_be_the_output(proto: onnx.ModelProto) -> None:
    graph = Float64Graph(proto)
    h = graph.run({"x": torch.from_numpy(INPUT).double()}, "h")
    assert h.shape == (4, 2)


def test_control_flow_and_other_domains_are_not_known(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].domain = "com.microsoft"
    with pytest.raises(UnknownOperatorError, match=r"does not know com\.microsoft\.MatMul"):
        Float64Graph(proto)
    body = helper.make_graph([], "body", [], [])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    proto.graph.node[1].CopyFrom(branch)
    with pytest.raises(UnknownOperatorError, match="does not know If"):
        Float64Graph(proto)


@pytest.mark.parametrize("value", [1 / 6, 1e-5, 0.01, 1e-3, 1 / 3, 0.2, 1.0, 0.0, 123.456, 3e-12])
def test_an_attribute_stands_for_the_number_that_was_rounded(value: float) -> None:
    assert unrounded(float(np.float32(value))) == value


def test_an_attribute_is_still_the_float32_that_is_computed_with() -> None:
    for value in np.random.default_rng(0).normal(size=1000).astype(np.float32):
        assert np.float32(unrounded(float(value))) == value
    assert unrounded(float("inf")) == float("inf")
