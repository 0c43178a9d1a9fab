"""The proof that the folded network is the network it came from.

Both are held against a reference: the trained network in eval mode, computed
in float64, where rounding is some nine digits finer. The trained network in
float32 has an error against it too; folding may not make that error larger,
and may not change a single predicted class.

Measuring (`compare`) and judging (`check`) are two steps.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import EquivalenceError
from export.graph import INPUT, LOGITS, PROBABILITIES

BATCH = 1000

# The graph is proved as it is served, and as it stands: at its default level ONNX Runtime
# rewrites it, and could mend or make a mistake.
OPTIMISATIONS: Mapping[str, ort.GraphOptimizationLevel] = {
    "default": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

# How many times eval mode's own error the folded model's may be. What is served must be no
# worse. With its optimiser off, ONNX Runtime's plain convolutions sum in an order of their own,
# up to 1.1 times eval mode's error on 14 checkpoints; a wrong graph is off by a thousand times.
ALLOWANCE: Mapping[str, float] = {"default": 1.0, "disabled": 2.0}


@dataclass(frozen=True)
class Deviation:
    """How far one network's logits are from the float64 reference's, over all images."""

    max_error: float  # largest |difference| of a logit
    mean_error: float  # mean |difference| of the logits
    worst_image: int  # index of the image with the largest error
    classes_equal: int  # images for which the predicted class is the reference's


@dataclass(frozen=True)
class Equivalence:
    """All figures of one comparison of a folded model with the network it came from."""

    images: int
    eval_mode: Deviation  # the trained network in float32
    folded: Mapping[str, Deviation]  # model.onnx, by ONNX Runtime's optimisation
    max_difference: float  # largest |logit difference| of folded and eval mode
    max_probability_difference: float  # the same of their probabilities
    classes_equal: int  # images for which folded and eval mode agree
    smallest_margin: float  # smallest lead of a predicted class's logit over the next, float64


def compare(model: nn.Sequential, onnx_model: bytes, images: Tensor) -> Equivalence:
    """Measure a folded model against the trained network, on the CPU.

    Args:
        model: the trained network in eval mode; takes float32 in [0, 1].
        onnx_model: the folded model; takes the images' own bytes.
        images: (N, 1, 28, 28) uint8, N at least 1.
    """
    reference = reference_logits(model, images)  # (N, K) float64
    eval_mode = _logits(model, images)  # (N, K) float32
    runs = {name: _run(onnx_model, level, images) for name, level in OPTIMISATIONS.items()}
    folded, probabilities = runs["default"]  # (N, K) float32, twice
    eval_probabilities = torch.from_numpy(eval_mode).softmax(dim=1).numpy()  # (N, K)
    ranked = np.sort(reference, axis=1)  # (N, K)
    return Equivalence(
        images=len(images),
        eval_mode=_deviation(eval_mode, reference),
        folded={name: _deviation(logits, reference) for name, (logits, _) in runs.items()},
        max_difference=_max_difference(folded, eval_mode),
        max_probability_difference=_max_difference(probabilities, eval_probabilities),
        classes_equal=int((folded.argmax(axis=1) == eval_mode.argmax(axis=1)).sum()),
        smallest_margin=float((ranked[:, -1] - ranked[:, -2]).min()),
    )


def check(equivalence: Equivalence) -> None:
    """Judge the figures: no larger an error than eval mode's own, and every class the same.

    Raises:
        EquivalenceError: naming every figure that fails, and by how much.
    """
    faults = list(_faults(equivalence))
    if faults:
        raise EquivalenceError(
            f"the folded model is not the network it came from, so it is not written: "
            f"{'; '.join(faults)}"
        )


def _faults(found: Equivalence) -> Iterator[str]:
    own_error = found.eval_mode.max_error
    for optimisation, deviation in found.folded.items():
        allowed = ALLOWANCE[optimisation] * own_error
        # Written so that an error that is not a number fails too.
        if not deviation.max_error <= allowed:
            yield (
                f"with optimisation {optimisation} its largest logit error against float64 is "
                f"{deviation.max_error:.3g} (image {deviation.worst_image}), at most "
                f"{allowed:.3g} is right: eval mode's own is {own_error:.3g}"
            )
        if deviation.classes_equal != found.images:
            yield (
                f"with optimisation {optimisation} {found.images - deviation.classes_equal} of "
                f"{found.images} predicted classes are not the float64 reference's"
            )
    if found.classes_equal != found.images:
        yield (
            f"{found.images - found.classes_equal} of {found.images} predicted classes are not "
            "those of eval mode in float32"
        )


def reference_logits(model: nn.Sequential, images: Tensor) -> NDArray[np.float64]:
    """Run the trained network in eval mode and float64: images (N, 1, 28, 28) to (N, K)."""
    return _logits(copy.deepcopy(model).double(), images).astype(np.float64, copy=False)


def _logits(model: nn.Sequential, images: Tensor) -> NDArray[np.floating]:
    """Run the trained network in the precision of its weights."""
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        parts = [model(batch.to(dtype) / 255) for batch in torch.split(images, BATCH)]
    logits: NDArray[np.floating] = torch.cat(parts).numpy()  # (N, K)
    return logits


def _run(
    onnx_model: bytes, level: ort.GraphOptimizationLevel, images: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run the folded model and return its logits and probabilities, each (N, K)."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
    parts = [
        session.run([LOGITS, PROBABILITIES], {INPUT: batch.numpy()})
        for batch in torch.split(images, BATCH)
    ]
    logits, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return logits, probabilities


def _deviation(logits: NDArray[np.floating], reference: NDArray[np.floating]) -> Deviation:
    error = np.abs(logits.astype(np.float64) - reference)  # (N, K)
    return Deviation(
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        worst_image=int(error.max(axis=1).argmax()),
        classes_equal=int((logits.argmax(axis=1) == reference.argmax(axis=1)).sum()),
    )


def _max_difference(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.abs(a.astype(np.float64) - b).max())
