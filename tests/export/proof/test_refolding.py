"""A model's weights compared bit by bit with those of its checkpoint, folded again."""

import copy
import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from torch import Tensor, nn

from export.proof.refolding import graph_differences, metadata_differences, refold
from tests.export.mutants import MUTANTS, Mutant, emitted, replace
from tests.export.networks import random_network

LABELS = ["top", "shoe"]


def only_fault(wrong: onnx.ModelProto, network: nn.Sequential) -> str:
    (fault,) = graph_differences(wrong, emitted(network))
    return fault


def test_a_network_folds_to_the_same_bits_again(network: nn.Sequential, images: Tensor) -> None:
    assert refold(network) == refold(copy.deepcopy(network))
    assert graph_differences(emitted(network), refold(network)) == []
    assert "0.weight" in only_fault(emitted(random_network(images, seed=1)), network)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_differs(
    mutant: Mutant, network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = mutant(network, monkeypatch)
    monkeypatch.undo()
    assert "is not the checkpoint's, folded again" in only_fault(wrong, network)


@pytest.mark.parametrize("name", ["0.weight", "3.bias", "7.weight", "11.bias"])
def test_the_last_bit_of_one_number_is_enough(name: str, network: nn.Sequential) -> None:
    def change(values: np.ndarray) -> None:
        values.flat[-1] = np.nextafter(values.flat[-1], np.inf, dtype=values.dtype)

    fault = only_fault(replace(emitted(network), name, change), network)
    assert fault.startswith(f"its tensor {name} is not the checkpoint's, folded again: 1 of ")


def test_the_first_tensor_that_differs_is_told_with_its_largest_difference(
    network: nn.Sequential,
) -> None:
    def change(weight: np.ndarray) -> None:
        weight[2, 0] += 0.125
        weight[4, 7] = 3.5

    wrong = replace(emitted(network), "9.weight", change)
    wrong = replace(wrong, "9.bias", lambda bias: bias.__iadd__(1))
    right = float(network_weight(network, "9.weight")[4, 7])
    assert only_fault(wrong, network) == (
        "its tensor 9.weight is not the checkpoint's, folded again: 2 of 10,080 values differ, "
        f"[4, 7] by {abs(3.5 - right):.3g} (3.5, not {right:.9g}) (and 1 more tensors are wrong)"
    )


def network_weight(network: nn.Sequential, name: str) -> np.ndarray:
    tensors = {tensor.name: tensor for tensor in emitted(network).graph.initializer}
    return numpy_helper.to_array(tensors[name])


def test_a_zero_with_another_sign_is_another_bit(network: nn.Sequential) -> None:
    network[9].weight.detach()[0, 0] = 0.0
    zero = float(network_weight(network, "7.weight")[0, 0])
    assert zero == 0

    def change(weight: np.ndarray) -> None:
        weight[0, 0] = -zero

    assert "0 of 30,720 values differ" in only_fault(
        replace(emitted(network), "7.weight", change), network
    )


def test_tensors_of_another_kind_missing_or_too_many(network: nn.Sequential) -> None:
    model = emitted(network)
    bias = model.graph.initializer[1]
    values = numpy_helper.to_array(bias)
    bias.CopyFrom(numpy_helper.from_array(values.astype(np.float64), "0.bias"))
    assert only_fault(model, network) == "its tensor 0.bias is float64 (6,), not float32 (6,)"
    bias.CopyFrom(numpy_helper.from_array(values[:5], "0.bias"))
    assert only_fault(model, network) == "its tensor 0.bias is float32 (5,), not float32 (6,)"
    bias.name = "stray"
    assert only_fault(model, network) == (
        "its tensor 0.bias is missing (and 1 more tensors are wrong)"
    )
    stray = emitted(network)
    stray.graph.initializer.append(numpy_helper.from_array(values, "stray"))
    assert only_fault(stray, network) == "its tensor stray does not belong"


def test_a_node_that_computes_something_else(network: nn.Sequential) -> None:
    model = emitted(network)
    (kernel, strides) = model.graph.node[3].attribute
    assert strides.name == "strides"
    strides.ints[:] = [1, 2]
    assert "its node 3 is %averagepool_2 = AveragePool[" in only_fault(model, network)
    assert "strides = [1, 2]" in only_fault(model, network)
    strides.ints[:] = [2, 2]
    swapped = [copy.deepcopy(strides), copy.deepcopy(kernel)]  # in another order they mean the same
    del model.graph.node[3].attribute[:]
    model.graph.node[3].attribute.extend(swapped)
    model.graph.node[3].name, model.graph.node[3].doc_string = "pool", "so do names and comments"
    assert graph_differences(model, refold(network)) == []
    del model.graph.node[-1]
    assert only_fault(model, network).startswith("its node 19 is missing, not %probabilities =")


def test_a_batch_norm_that_was_left_in(network: nn.Sequential) -> None:
    model = emitted(network)
    node = helper.make_node("BatchNormalization", ["x"] * 5, ["y"], name="batch_norm_1")
    model.graph.node.insert(2, node)
    assert (
        only_fault(model, network) == "its graph still has BatchNormalization nodes (batch_norm_1)"
    )


def with_metadata(**properties: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    helper.set_model_props(model, properties)
    return model


def test_metadata_of_the_same_checkpoint() -> None:
    provenance = json.dumps({"checkpoint_sha256": "f00d", "recipe": "seed"})
    model = with_metadata(labels=json.dumps(LABELS), provenance=provenance)
    assert metadata_differences(model, LABELS, "f00d") == []


@pytest.mark.parametrize(
    ("properties", "faults"),
    [
        ({"labels": '["shoe", "top"]'}, ["its labels are ['shoe', 'top'], not ['top', 'shoe']"]),
        ({"labels": "nonsense"}, ["its labels are None, not ['top', 'shoe']"]),
        (
            {"provenance": '{"checkpoint_sha256": "beef"}'},
            [
                "it says that it comes from a checkpoint with SHA-256 beef, but this one has f00d: "
                "the checkpoint or the model is stale"
            ],
        ),
        (
            {"provenance": "[]"},
            [
                "it says that it comes from a checkpoint with SHA-256 None, but this one has f00d: "
                "the checkpoint or the model is stale"
            ],
        ),
    ],
)
def test_metadata_of_another(properties: dict[str, str], faults: list[str]) -> None:
    right = {"labels": json.dumps(LABELS), "provenance": '{"checkpoint_sha256": "f00d"}'}
    model = with_metadata(**(right | properties))
    assert metadata_differences(model, LABELS, "f00d") == faults


def test_a_model_without_metadata_has_two_faults() -> None:
    assert len(metadata_differences(onnx.ModelProto(), LABELS, "f00d")) == 2


def test_a_node_of_another_domain_is_another_operator(network: nn.Sequential) -> None:
    wrong = emitted(network)
    wrong.graph.node[2].domain = "org.example"
    assert only_fault(wrong, network).startswith("its node 2 is ")
