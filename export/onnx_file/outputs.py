"""Compute the outputs of the trained network in eval mode and of the folded network.

torch computes the trained network in the precision of its weights, float32, and
again in float64. The latter is the reference: its rounding is about nine digits
finer. ONNX Runtime computes the folded network on the CPU.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ModelError
from export.onnx_file.emission import INPUT, LOGITS, PROBABILITIES
from export.onnx_file.session import open_session

BATCH = 1000

# The graph is proved as it is served and as it is written: at its default level ONNX Runtime
# rewrites the graph, which could hide or cause a mistake.
OPTIMISATIONS: Mapping[str, ort.GraphOptimizationLevel] = {
    "default": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


@dataclass(frozen=True)
class Outputs:
    """A network's outputs for N images and K classes."""

    logits: NDArray[np.floating]  # (N, K)
    probabilities: NDArray[np.floating]  # (N, K)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.logits)

    @property
    def classes(self) -> NDArray[np.intp]:
        """Return the predicted classes, (N,)."""
        classes: NDArray[np.intp] = self.logits.argmax(axis=1)
        return classes


def trained_outputs(model: nn.Sequential, images: Tensor) -> Outputs:
    """Return the trained network's outputs in its weights' dtype for (N, C, H, W) uint8 images."""
    dtype = next(model.parameters()).dtype
    with torch.no_grad(), one_thread():
        parts = [model(batch.to(dtype) / 255) for batch in torch.split(images, BATCH)]
    logits = torch.cat(parts)  # (N, K)
    return Outputs(logits.numpy(), logits.softmax(dim=1).numpy())


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch sum in a fixed order, so that figures and models are reproducible."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reference_outputs(model: nn.Sequential, images: Tensor) -> Outputs:
    """Return the outputs of a float64 copy of the trained network."""
    return trained_outputs(copy.deepcopy(model).double(), images)


def folded_outputs(onnx_model: bytes, images: Tensor) -> dict[str, Outputs]:
    """Return the folded model's outputs for each of `OPTIMISATIONS`.

    Raises:
        ModelError: ONNX Runtime cannot compute it.
    """
    return {
        name: Outputs(*compute(open_session(onnx_model, level), [LOGITS, PROBABILITIES], images))
        for name, level in OPTIMISATIONS.items()
    }


def compute(
    session: ort.InferenceSession, outputs: Sequence[str], images: Tensor
) -> list[NDArray[np.floating]]:
    """Return the named outputs for (N, C, H, W) images, each (N, ...).

    Raises:
        ModelError: ONNX Runtime cannot compute the model.
    """
    try:
        parts = [
            session.run(outputs, {INPUT: batch.numpy()}) for batch in torch.split(images, BATCH)
        ]
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise ModelError(f"ONNX Runtime cannot compute the model: {error}") from error
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
