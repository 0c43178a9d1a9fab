"""The released model.onnx against the released checkpoint, by the notebook's own code.

The oracle is d2l's network as its chapter prints it (benchmarks/notebook.py), not
this project's. Only the loading of its tensors by their names is added.
"""

import base64
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from benchmarks.notebook import notebook_network
from export.proof.equivalence import compare
from tests.export.inference import run
from training.data.dataset import Split
from training.data.fashion_mnist import DIGESTS, LABELS
from training.files.checkpoint import load_checkpoint

FOLDER = Path(__file__).parents[2] / "models" / "fashion_lenet"
MODEL = FOLDER / "model.onnx"
CHECKPOINT = FOLDER / "checkpoint.safetensors"


def load_by_name(path: Path) -> nn.Sequential:
    """Load each tensor by its name, the moving statistics too."""
    network = notebook_network()
    left = {name for name, _ in network.named_parameters()}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            position, name = key.split(".")
            layer, value = network[int(position)], file.get_tensor(key)
            old = getattr(layer, name)
            assert (old.shape, old.dtype) == (value.shape, value.dtype), key
            setattr(layer, name, nn.Parameter(value) if isinstance(old, nn.Parameter) else value)
            left.discard(key)
    assert not left
    return network


@pytest.fixture(scope="module")
def expected(real: Split) -> Tensor:
    """The notebook's logits, (10000, 10) float32."""
    network = load_by_name(CHECKPOINT)
    with torch.no_grad():
        return torch.cat([network(X.float() / 255) for X in real.images.split(1000)])


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(MODEL)


@pytest.fixture(scope="module")
def found(model: onnx.ModelProto, real: Split) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The released model's logits and probabilities, each (10000, 10)."""
    return run(model, real.images)


@pytest.fixture(scope="module")
def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


@pytest.fixture(scope="module")
def proof() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "equivalence.json").read_text())
    return content


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_class_is_the_notebooks(
    found: tuple[NDArray[np.float32], NDArray[np.float32]], expected: Tensor
) -> None:
    same = found[1].argmax(axis=1) == expected.argmax(dim=1).numpy()
    assert same.sum() == len(same) == 10_000


def test_every_probability_is_the_notebooks(
    found: tuple[NDArray[np.float32], NDArray[np.float32]], expected: Tensor
) -> None:
    np.testing.assert_allclose(found[1], expected.softmax(1).numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[0], expected.numpy(), rtol=0, atol=5e-5)


def test_the_oracle_can_tell_a_wrong_network(
    found: tuple[NDArray[np.float32], NDArray[np.float32]], real: Split
) -> None:
    """With gradients the notebook's code trains; without its statistics the logits differ."""
    wrong = load_by_name(CHECKPOINT)
    X = real.images[:1000].float() / 255  # (N, 1, 28, 28)
    training = wrong(X).detach().softmax(1).numpy()
    assert np.abs(training - found[1][:1000]).max() > 1e-3
    wrong = load_by_name(CHECKPOINT)
    wrong[13].moving_mean = torch.zeros(1, 84)
    with torch.no_grad():
        assert np.abs(wrong(X).softmax(1).numpy() - found[1][:1000]).max() > 1e-3


def test_accuracy_is_what_was_promised(
    found: tuple[NDArray[np.float32], NDArray[np.float32]],
    properties: dict[str, str],
    real: Split,
) -> None:
    right = found[1].argmax(axis=1) == real.labels.numpy()
    assert right.mean() >= 0.915
    recorded = json.loads(properties["provenance"])["test_accuracy"]
    assert float(recorded) == pytest.approx(right.mean(), abs=1e-6)


def test_the_graph_is_the_contracts(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        "Cast",
        *("Conv", "Sigmoid", "AveragePool"),
        *("Conv", "Sigmoid", "AveragePool"),
        "Flatten",
        *("Cast", "Gemm", "Cast", "Sigmoid"),
        *("Cast", "Gemm", "Cast", "Sigmoid"),
        *("Cast", "Gemm", "Cast", "Softmax"),
    ]
    session = ort.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("image", "tensor(uint8)", ["N", 1, 28, 28])
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("logits", "tensor(float)", ["N", 10]),
        ("probabilities", "tensor(float)", ["N", 10]),
    ]


def test_the_metadata_is_complete(properties: dict[str, str], proof: dict[str, Any]) -> None:
    assert properties["name"] == "fashion_lenet"
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
    assert json.loads(properties["labels"]) == list(LABELS)
    assert json.loads(properties["equivalence"]) == proof["figures"]
    origin = json.loads(properties["provenance"])
    assert {"recipe", "seed", "epochs", "test_accuracy", "versions"} < set(origin)
    assert origin["dataset"] == DIGESTS
    assert origin["checkpoint_sha256"] == sha256(CHECKPOINT)
    assert {"torch", "numpy", "onnx", "onnxruntime"} <= set(origin["versions"])


def test_the_golden_samples_hold(model: onnx.ModelProto, properties: dict[str, str]) -> None:
    golden = json.loads(properties["golden_samples"])
    content = np.frombuffer(base64.b64decode(golden["images"]), np.uint8)
    images = torch.from_numpy(content.reshape(10, 1, 28, 28).copy())
    logits, _ = run(model, images)
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=golden["tolerance"] / 4)


def test_the_proof_is_of_these_files(proof: dict[str, Any]) -> None:
    assert proof["verdict"] == "equal"
    assert proof["model_sha256"] == sha256(MODEL)
    assert proof["checkpoint_sha256"] == sha256(CHECKPOINT)
    assert proof["test_set"] == {k: v for k, v in DIGESTS.items() if k.startswith("t10k")}


def test_the_proofs_figures_can_be_recomputed(proof: dict[str, Any], real: Split) -> None:
    """Counts and margins exactly; errors as far as another processor's order of sums allows."""
    network = load_checkpoint(CHECKPOINT).model
    again, recorded = asdict(compare(network, MODEL.read_bytes(), real.images)), proof["figures"]
    assert set(again) == set(recorded)
    assert again["images"] == again["classes_equal"] == recorded["classes_equal"] == 10_000
    assert again["smallest_margin"] == pytest.approx(recorded["smallest_margin"], rel=1e-6)
    for now, was in zip(deviations(again), deviations(recorded), strict=True):
        assert now["classes_equal"] == was["classes_equal"] == 10_000
        for error in ("max_error", "mean_error"):
            assert was[error] / 2 < now[error] < was[error] * 2
    assert again["max_difference"] < 2 * recorded["max_difference"]
    assert again["max_probability_difference"] < 1e-5


def deviations(figures: dict[str, Any]) -> list[dict[str, Any]]:
    return [figures["eval_mode"], figures["folded"]["default"], figures["folded"]["disabled"]]
