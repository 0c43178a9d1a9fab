"""The released network's graph, read node by node, and run against torch."""

import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.onnx_file.builder import OPSET
from export.onnx_file.lenet import emit_lenet
from tests.export.inference import LEVELS, run
from tests.export.networks import assert_untouched, folded_layers, random_network, state


def signature(value: onnx.ValueInfoProto) -> tuple[str, int, list[str | int]]:
    kind = value.type.tensor_type
    return value.name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]


def test_the_nodes_are_the_layers_and_no_batch_norm_is_left(folded_model: onnx.ModelProto) -> None:
    assert [node.op_type for node in folded_model.graph.node] == [
        "Cast",
        *("Conv", "Sigmoid", "AveragePool"),
        *("Conv", "Sigmoid", "AveragePool"),
        "Flatten",
        *("Cast", "Gemm", "Cast", "Sigmoid"),
        *("Cast", "Gemm", "Cast", "Sigmoid"),
        *("Cast", "Gemm", "Cast", "Softmax"),
    ]
    assert {node.domain for node in folded_model.graph.node} == {""}
    assert not folded_model.functions


def test_inputs_and_outputs_are_the_contracts(folded_model: onnx.ModelProto) -> None:
    graph = folded_model.graph
    assert [signature(value) for value in graph.input] == [
        ("image", TensorProto.UINT8, ["N", 1, 28, 28])
    ]
    assert [signature(value) for value in graph.output] == [
        ("logits", TensorProto.FLOAT, ["N", 10]),
        ("probabilities", TensorProto.FLOAT, ["N", 10]),
    ]
    assert folded_model.ir_version == 7
    assert [(opset.domain, opset.version) for opset in folded_model.opset_import] == [("", OPSET)]
    onnx.checker.check_model(folded_model, full_check=True)


def test_the_operators_are_the_newest_in_the_oldest_opset(folded_model: onnx.ModelProto) -> None:
    operators = {node.op_type for node in folded_model.graph.node}

    def definitions(opset: int) -> dict[str, int]:
        return {name: onnx.defs.get_schema(name, opset, "").since_version for name in operators}

    assert definitions(OPSET) == definitions(17)
    assert definitions(OPSET - 1) != definitions(17)
    assert helper.find_min_ir_version_for(folded_model.opset_import) == 7


def test_everything_has_a_name_and_what_goes_in_and_out_is_documented(
    folded_model: onnx.ModelProto,
) -> None:
    graph = folded_model.graph
    names = [node.name for node in graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    (image,), (logits, probabilities) = graph.input, graph.output
    assert image.doc_string.startswith("Axes: image (as many as you like), channel, row from the ")
    assert "uint8: 0 is the black background, 255 the brightest" in image.doc_string
    for output in (logits, probabilities):
        assert output.doc_string.startswith("Axes: image, class in the order of the metadata's lab")
    assert "any real number; the largest is the predicted class's" in logits.doc_string
    assert "float32 in [0, 1]: softmax of the logits" in probabilities.doc_string
    assert "each batch norm folded into the layer before it" in folded_model.doc_string
    assert graph.doc_string == folded_model.doc_string


def test_the_producer_is_this_project(folded_model: onnx.ModelProto) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert folded_model.producer_name == project["name"]
    assert folded_model.producer_version == project["version"]


def test_the_nodes_are_a_chain(folded_model: onnx.ModelProto) -> None:
    """Each takes what the one before gives, and weights."""
    weights = {tensor.name for tensor in folded_model.graph.initializer}
    last = "image"
    for node in folded_model.graph.node:
        assert [name for name in node.input if name not in weights] == [last]
        (last,) = node.output
    assert last == "probabilities"


def test_the_same_network_gives_the_same_bytes(network: nn.Sequential) -> None:
    first, second = (emit_lenet(network).model for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_the_weights_are_the_float64_fold_rounded_once_or_not_at_all(
    network: nn.Sequential, folded_model: onnx.ModelProto
) -> None:
    expected = folded_layers(network).state_dict()
    initialisers = {i.name: numpy_helper.to_array(i) for i in folded_model.graph.initializer}
    assert list(initialisers) == list(expected)
    for name, value in expected.items():
        assert value.dtype == torch.float64
        dtype = np.float32 if name.startswith(("0.", "3.")) else np.float64  # else: linear layers
        assert initialisers[name].dtype == dtype
        np.testing.assert_array_equal(initialisers[name], value.numpy().astype(dtype))
    assert sum(value.size for value in initialisers.values()) == 44_426


def test_emitting_leaves_the_network_alone(network: nn.Sequential) -> None:
    before = state(network)
    emit_lenet(network)
    assert_untouched(network, before)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_any_batch_gives_the_networks_logits(
    folded_model: onnx.ModelProto,
    network: nn.Sequential,
    images: Tensor,
    batch: int,
    level: ort.GraphOptimizationLevel,
) -> None:
    chosen = images.repeat(4, 1, 1, 1)[:batch]  # (N, 1, 28, 28)
    logits, probabilities = run(folded_model, chosen, level)
    with torch.no_grad():
        exact = network.double()(chosen.double() / 255)  # (N, K)
    assert logits.shape == probabilities.shape == (batch, 10)
    assert logits.dtype == probabilities.dtype == np.float32
    # tests/export/rounding.py bounds float32's error on this network by 6e-5.
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=6e-5)
    np.testing.assert_allclose(probabilities, exact.softmax(1).numpy(), rtol=0, atol=3e-5)


def test_no_images_are_no_logits(folded_model: onnx.ModelProto) -> None:
    logits, probabilities = run(folded_model, torch.zeros(0, 1, 28, 28, dtype=torch.uint8))
    assert logits.shape == probabilities.shape == (0, 10)


def test_every_byte_is_taken_for_what_it_is(
    folded_model: onnx.ModelProto, network: nn.Sequential
) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1).expand(-1, 1, 28, 28)
    logits, _ = run(folded_model, ramp.contiguous())  # bytes above 127 are not negative
    with torch.no_grad():
        exact = network.double()(ramp.double() / 255)
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_classes", [2, 3, 26])
def test_other_numbers_of_classes(images: Tensor, num_classes: int) -> None:
    network = random_network(images, seed=1, num_classes=num_classes)
    model = emit_lenet(network).model
    assert [signature(value)[2] for value in model.graph.output] == [["N", num_classes]] * 2
    logits, probabilities = run(model, images)
    with torch.no_grad():
        exact = network.double()(images.double() / 255)
    np.testing.assert_allclose(logits, exact.numpy(), rtol=0, atol=6e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)
