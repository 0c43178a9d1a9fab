"""Running the networks, and what ONNX Runtime cannot run."""

import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from export.errors import ModelError
from export.onnx_file.outputs import (
    OPTIMISATIONS,
    compute,
    folded_outputs,
    trained_outputs,
)
from export.onnx_file.session import open_session
from tests.export.mutants import emitted


def test_batches_make_no_difference(
    network: nn.Sequential, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained_outputs(network.double(), images[:65])
    monkeypatch.setattr("export.onnx_file.outputs.BATCH", 16)
    parts = trained_outputs(network, images[:65])
    assert torch.allclose(torch.from_numpy(whole.logits), torch.from_numpy(parts.logits))
    assert len(folded_outputs(emitted(network).SerializeToString(), images[:65])["default"]) == 65


def test_a_model_that_onnx_runtime_cannot_load(network: nn.Sequential) -> None:
    model = emitted(network)
    model.opset_import[0].version = 999
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the model: "):
        open_session(model.SerializeToString(), ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def test_a_model_that_fails_as_it_runs() -> None:
    """A reshape to 3 numbers a row, which does not divide 784."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["image", "shape"], ["rows"])],
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, [None, 3])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 3])],
    )
    opset = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    ready = open_session(model.SerializeToString(), OPTIMISATIONS["default"])
    with pytest.raises(ModelError, match="ONNX Runtime cannot compute the model: "):
        compute(ready, ["rows"], torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
