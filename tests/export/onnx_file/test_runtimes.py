"""The emitted graph in three runtimes that share no code: each gives the same classes.

ONNX Runtime and OpenVINO see all 10,000 test images. onnx's reference evaluator pools in a loop
of Python's, and takes two minutes and a half for them: it sees 200, every fiftieth.
"""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from export.onnx_file.lenet import emit_lenet
from export.proof.equivalence import reference_logits
from tests.export.inference import LEVELS, run
from training.data.dataset import Split
from training.files.checkpoint import load_checkpoint

CHECKPOINT = Path(__file__).parents[3] / "models" / "fashion_lenet" / "checkpoint.safetensors"
BATCH = 1000
TOLERANCE = 2e-4  # of a logit: five times what the furthest, OpenVINO, was found off


@pytest.fixture(scope="module")
def exact(real: Split) -> NDArray[np.float64]:
    """The trained network's logits in float64, (10000, 10)."""
    return reference_logits(load_checkpoint(CHECKPOINT).model, real.images)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """The released checkpoint's network, as this code emits it."""
    return emit_lenet(load_checkpoint(CHECKPOINT).model).model


def agrees(
    logits: NDArray[np.float32], probabilities: NDArray[np.float32], exact: NDArray[np.float64]
) -> None:
    assert logits.dtype == probabilities.dtype == np.float32
    np.testing.assert_array_equal(logits.argmax(axis=1), exact.argmax(axis=1))
    np.testing.assert_array_equal(probabilities.argmax(axis=1), exact.argmax(axis=1))
    np.testing.assert_allclose(logits, exact, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_onnxruntime(
    model: onnx.ModelProto, real: Split, exact: NDArray[np.float64], level: object
) -> None:
    agrees(*run(model, real.images, level), exact)


def test_openvino(
    model: onnx.ModelProto, real: Split, exact: NDArray[np.float64], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    # OpenVINO rounds to bfloat16 by itself where a CPU can, and then 52 classes were others.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = [compiled(batch.numpy()) for batch in real.images.split(BATCH)]
    logits, probabilities = (
        np.concatenate([result[output] for result in results])
        for output in ("logits", "probabilities")
    )
    agrees(logits, probabilities, exact)


def test_onnxs_reference_evaluator(
    model: onnx.ModelProto, real: Split, exact: NDArray[np.float64]
) -> None:
    logits, probabilities = ReferenceEvaluator(model).run(
        ["logits", "probabilities"], {"image": real.images[::50].numpy()}
    )
    agrees(logits, probabilities, exact[::50])
