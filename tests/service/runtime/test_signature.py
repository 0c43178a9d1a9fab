"""A model's inputs and outputs: others than `export` writes are named."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from service.runtime.onnx_model import load_model
from tests.service.networks import NETWORKS, Network
from tests.service.runtime.spoiled_models import (
    refused,
    rename_the_input,
    settings,
    spoiled,
)


def _take_floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _take_one_image_at_a_time(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def _take_a_second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N"]))


def _take_images_of_any_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"


def _rename_an_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[1].name = "softmax"


def _give_no_logits(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (rename_the_input, "input is img uint8 (N, 1, 28, 28), not image uint8 (N, C, H, W)"),
        (_take_floats, "input is image float (N, 1, 28, 28), not image uint8"),
        (_take_one_image_at_a_time, "input is image uint8 (1, 1, 28, 28), not image uint8 (N, C"),
        (_take_a_second_input, "input is image uint8 (N, 1, 28, 28), mask uint8 (N), not"),
        (_take_images_of_any_height, "input is image uint8 (N, 1, N, 28), not image uint8"),
        (_rename_an_output, "output is logits float (N, 10), softmax float (N, 10), not logits"),
        (_give_no_logits, "output is probabilities float (N, 10), not logits float (N, 10), prob"),
    ],
)
def test_other_inputs_and_outputs_are_refused(
    tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], text: str
) -> None:
    assert f"the model's {text}" in refused(spoiled(tmp_path, spoil))


def test_images_of_two_channels_are_refused(tmp_path: Path) -> None:
    path = Network("two_channels", (2, 20, 30), 3).write(tmp_path / "model.onnx")
    assert refused(path) == (
        "the model's input is image uint8 (N, 2, 20, 30), expected image uint8 (N, C, H, W) with "
        "C = 1 or 3, H and W at most 4,096"
    )


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_shape_and_classes_are_the_files_own(tmp_path: Path, network: Network) -> None:
    model = load_model(settings(network.write(tmp_path / "model.onnx")))
    assert model.signature.image.shape == network.shape
    assert model.labels == tuple(network.labels)
    assert model.golden.images.shape == (4, *network.shape)
    assert model.classify(network.images(3)).shape == (3, network.classes)
