"""Layer by layer: each node against the layers it stands for, and where a deviation starts."""

import copy
import dataclasses
import math

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.onnx_file.outputs import reference_outputs
from export.proof.layers import (
    LayerDeviation,
    compare_layers,
    first_beyond_rounding,
    trained_layers,
)
from tests.export.mutants import emitted, replace
from tests.export.networks import assert_untouched, state

NODES = [
    *("conv_0", "sigmoid_1", "averagepool_2", "conv_3", "sigmoid_4", "averagepool_5"),
    *("flatten_6", "gemm_7", "sigmoid_8", "gemm_9", "sigmoid_10", "gemm_11"),
]


def measured(
    network: nn.Sequential, model: onnx.ModelProto, images: Tensor
) -> list[LayerDeviation]:
    return compare_layers(network, model, emitted(network), images)


def test_a_batch_norm_belongs_to_the_layer_before_it(network: nn.Sequential) -> None:
    assert trained_layers(network) == [
        *(("0", "1"), ("2",), ("3",), ("4", "5"), ("6",), ("7",), ("8",)),
        *(("9", "10"), ("11",), ("12", "13"), ("14",), ("15",)),
    ]


def test_every_layer_of_a_right_model_is_measured_and_right(
    network: nn.Sequential, images: Tensor
) -> None:
    before, model = state(network), emitted(network)
    content = model.SerializeToString()
    found = measured(network, model, images)
    assert_untouched(network, before)
    assert model.SerializeToString() == content
    assert [layer.node for layer in found] == NODES
    assert first_beyond_rounding(found) is None
    assert all(0 < layer.max_error < layer.eval_mode_error for layer in found)


def test_the_figures_are_what_they_say(network: nn.Sequential, images: Tensor) -> None:
    def change(bias: np.ndarray) -> None:
        bias[3] += 0.25

    found = measured(network, replace(emitted(network), "0.bias", change), images)
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        y = exact[1](exact[0](images.double() / 255))  # (N, 6, 24, 24)
        float32 = network[1](network[0](images.float() / 255)).double()
    assert found[0].max_error == pytest.approx(0.25, abs=1e-4)
    assert found[0].magnitude == pytest.approx(float(y.abs().max()), rel=1e-12)
    assert found[0].relative_error == pytest.approx(0.25 / float(y.abs().max()), rel=1e-3)
    assert found[0].eval_mode_error == pytest.approx(float((float32 - y).abs().max()), rel=0.5)
    logits = np.abs(reference_outputs(network, images).logits).max()
    assert found[-1].magnitude == pytest.approx(float(logits), rel=1e-12)


@pytest.mark.parametrize("node", ["conv_0", "conv_3", "gemm_7", "gemm_9", "gemm_11"])
def test_a_deviation_starts_where_the_mistake_is(
    node: str, network: nn.Sequential, images: Tensor
) -> None:
    def change(bias: np.ndarray) -> None:
        bias[1] += 0.01

    wrong = replace(emitted(network), f"{node.split('_')[1]}.bias", change)
    start = first_beyond_rounding(measured(network, wrong, images[:50]))
    assert start is not None
    assert start.node == node


def test_a_mistake_is_found_on_the_last_image_of_several_batches(
    network: nn.Sequential, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.proof.layers.BATCH", 64)
    whole = measured(network, emitted(network), images)
    monkeypatch.undo()
    for one, other in zip(whole, measured(network, emitted(network), images), strict=True):
        assert one.magnitude == other.magnitude
        assert one.max_error == pytest.approx(other.max_error, rel=0.5)


def test_nodes_are_computed_as_they_stand(
    network: nn.Sequential, images: Tensor, levels: list[ort.GraphOptimizationLevel]
) -> None:
    measured(network, emitted(network), images[:1])
    assert levels == [ort.GraphOptimizationLevel.ORT_DISABLE_ALL]


def test_a_node_that_is_not_there_is_left_out(network: nn.Sequential, images: Tensor) -> None:
    model = emitted(network)
    for node in model.graph.node:
        node.output[:] = [name.replace("sigmoid_4", "squashed") for name in node.output]
        node.input[:] = [name.replace("sigmoid_4", "squashed") for name in node.input]
    found = measured(network, model, images[:5])
    assert [layer.node for layer in found] == [name for name in NODES if name != "sigmoid_4"]


def test_a_layer_of_another_shape_is_beyond_rounding(
    network: nn.Sequential, images: Tensor
) -> None:
    """The pool's output has another size, which would not fit when flattened, so it is cropped."""
    model = emitted(network)
    (first,) = [node for node in model.graph.node if node.name == "conv_0"]
    (pads,) = [attribute for attribute in first.attribute if attribute.name == "pads"]
    pads.ints[:] = [1, 1, 1, 1]
    (pool,) = [node for node in model.graph.node if node.name == "averagepool_2"]
    (kernel,) = [attribute for attribute in pool.attribute if attribute.name == "kernel_shape"]
    kernel.ints[:] = [4, 4]
    start = first_beyond_rounding(measured(network, model, images[:5]))
    assert start is not None
    assert (start.node, start.max_error) == ("conv_0", math.inf)


LAYER = LayerDeviation("conv_0", ("0", "1"), 8e-6, 10.0, 1e-6)


@pytest.mark.parametrize(
    ("change", "beyond"),
    [
        ({}, False),
        ({"max_error": 8.1e-6}, True),
        ({"max_error": math.nan}, True),
        ({"max_error": math.inf}, True),
        ({"eval_mode_error": 0.0}, True),
        ({"max_error": 4e-6, "eval_mode_error": 0.0}, False),  # the magnitude's own rounding
        ({"max_error": 0.0, "magnitude": 0.0, "eval_mode_error": 0.0}, False),
    ],
)
def test_beyond_rounding(change: dict[str, float], beyond: bool) -> None:
    layer = dataclasses.replace(LAYER, **change)
    assert layer.beyond_rounding == beyond
    assert first_beyond_rounding([layer]) == (layer if beyond else None)
