"""A residual network's checkpoint: trained, exported, verified and served like LeNet-BN's."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import main as export
from service.runtime.onnx_model import open_model
from tests.export.networks import write_data_set
from training.__main__ import main as train
from training.data.dataset import Split
from training.data.pixels import to_float
from training.files.checkpoint import load_checkpoint

IMAGES = 128


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, real: Split) -> Path:
    folder = write_data_set(
        tmp_path_factory.mktemp("data"), real.images[:IMAGES], real.labels[:IMAGES]
    )
    (folder / "labels.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run of one epoch, and its model."""
    out = tmp_path_factory.mktemp("run")
    labels = ["--labels", str(data / "labels.txt"), "--no-flip"]
    settings = ["--recipe", "resnet", "--epochs", "1", "--threads", "1", "--compile", "off"]
    assert train([*settings, "--data", str(data), *labels, "--out", str(out)]) == 0
    checkpoint = str(out / "checkpoint.safetensors")
    assert export([checkpoint, "--data", str(data), "--out", str(out / "model.onnx")]) == 0
    return out


def metadata(model: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(model).metadata_props}


def test_its_files_name_the_network(run: Path) -> None:
    assert json.loads((run / "metrics.json").read_text())["network"] == "resnet_bn"
    assert load_checkpoint(run / "checkpoint.safetensors").network == "resnet_bn"
    provenance = json.loads(metadata(run / "model.onnx")["provenance"])
    assert (provenance["network"], provenance["recipe"]) == ("resnet_bn", "resnet")
    assert {"python", "onnxruntime"} <= set(provenance["versions"])


def test_every_batch_norm_is_folded(run: Path) -> None:
    operators = {node.op_type for node in onnx.load(run / "model.onnx").graph.node}
    assert operators == {
        *("Cast", "Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Softmax")
    }
    report = json.loads((run / "equivalence.json").read_text())
    assert report["batch_norms"] == {"folded": 9, "left": []}


def test_the_service_answers_with_the_trained_networks_logits(run: Path, real: Split) -> None:
    network = load_checkpoint(run / "checkpoint.safetensors").model
    with torch.no_grad():
        expected = network.double()(to_float(real.images[:32]).double()).numpy()
    model = open_model((run / "model.onnx").read_bytes(), "cpu", max_batch=32)
    assert model.input_statistics is not None
    (found,) = model.infer(real.images[:32].numpy(), ["logits"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_it_is_verified_against_its_checkpoint_alone(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, checkpoint = str(run / "model.onnx"), str(run / "checkpoint.safetensors")
    assert export(["verify", model, checkpoint, "--data", str(data)]) == 0
    assert f"PASS: {model} is {checkpoint}, folded" in capsys.readouterr().out


def test_a_stale_checkpoint_and_other_statistics_are_faults(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(run / "model.onnx")
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    provenance = json.loads(entries["provenance"]) | {"checkpoint_sha256": "0"}
    statistics = json.loads(entries["input_statistics"]) | {"shift_limit": 1.0}
    onnx.helper.set_model_props(
        proto,
        entries
        | {"provenance": json.dumps(provenance), "input_statistics": json.dumps(statistics)},
    )
    other, checkpoint = tmp_path / "model.onnx", str(run / "checkpoint.safetensors")
    onnx.save(proto, other)
    assert export(["verify", str(other), checkpoint, "--data", str(data)]) == 1
    errors = capsys.readouterr().err
    assert "the checkpoint or the model is stale" in errors
    assert "its input statistics are not the training set's: shift_limit" in errors
