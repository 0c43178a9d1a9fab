"""The released model gives on CUDA what it gives on the CPU, within float32."""

from pathlib import Path

import numpy as np

from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.onnx_session import CUDA
from service.runtime.signature import LOGITS
from service.settings import ServiceSettings
from training.data.fashion_mnist import load_split

TEST_SET = Path("tests/data")


def load(device: str) -> OnnxModel:
    return load_model(ServiceSettings(device=device))


def test_cuda_is_what_cuda_and_auto_get() -> None:
    assert load("cuda").execution_provider == CUDA
    assert load("auto").execution_provider == CUDA


def test_all_classes_are_the_same_and_logits_within_the_golden_tolerance() -> None:
    images = load_split("test", TEST_SET).images.numpy()
    on_cuda, on_cpu = load("cuda"), load("cpu")
    (found,), (expected,) = (model.infer(images, [LOGITS]) for model in (on_cuda, on_cpu))
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert np.abs(found - expected).max() <= on_cpu.golden.tolerance
