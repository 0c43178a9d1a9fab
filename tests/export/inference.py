"""A model in ONNX Runtime, with its optimiser or without."""

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from torch import Tensor

LEVELS = [
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
]


def run(
    model: onnx.ModelProto, images: Tensor, level: ort.GraphOptimizationLevel = LEVELS[0]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images (N, C, H, W) uint8 to logits and probabilities, each (N, K)."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    logits, probabilities = session.run(["logits", "probabilities"], {"image": images.numpy()})
    return logits, probabilities
