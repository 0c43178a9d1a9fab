"""The main figures of the proof that the folded network equals the trained one.

Both are compared with a reference: the trained network in eval mode, computed
in float64, where rounding is about nine digits finer. The trained network in
float32 has an error against it too; folding must not make that error larger,
and must not change any predicted class.

Measuring (`compare`) and judging (`faults`, `check`) are two steps. `export.proof.prove`
adds the other checks and all the detail.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import EquivalenceError
from export.onnx_file.outputs import Outputs, folded_outputs, reference_outputs, trained_outputs
from export.proof.deviation import absolute_errors, largest_error, margins

# The folded model's largest allowed error, in multiples of eval mode's own error. The served model
# must not be worse. Without optimisation, ONNX Runtime's plain convolutions sum in another order:
# up to 1.1 times eval mode's error on 14 checkpoints. A wrong graph has a thousand times the error.
ALLOWANCE: Mapping[str, float] = {"default": 1.0, "disabled": 2.0}
# On a GPU, whose convolutions sum in other orders again: the limit for any network, which wrong
# graphs pass by far.
GPU_ALLOWANCE: Mapping[str, float] = {"default": 8.0, "disabled": 8.0}


@dataclass(frozen=True)
class Deviation:
    """How far one network's logits are from the float64 reference's, over all images."""

    max_error: float  # largest |difference| of a logit
    mean_error: float  # mean |difference| of the logits
    worst_image: int  # index of the image with the largest error
    classes_equal: int  # images for which the predicted class is the reference's


@dataclass(frozen=True)
class Equivalence:
    """The main figures of one comparison of a folded model with the trained network."""

    images: int
    eval_mode: Deviation  # the trained network in float32
    folded: Mapping[str, Deviation]  # model.onnx, by ONNX Runtime's optimisation level
    max_difference: float  # largest |logit difference| of folded and eval mode
    max_probability_difference: float  # the same of their probabilities
    classes_equal: int  # images for which folded and eval mode agree
    smallest_margin: float  # smallest lead of a predicted class's logit over the next, float64


def compare(model: nn.Sequential, onnx_model: bytes, images: Tensor) -> Equivalence:
    """Return the main figures of a folded model against the trained network, on the CPU.

    Args:
        model: the trained network in eval mode; takes float32 in [0, 1].
        onnx_model: the folded model; takes the images' own bytes.
        images: (N, 1, 28, 28) uint8, N at least 1.

    Raises:
        ModelError: ONNX Runtime cannot compute the model.
    """
    return main_figures(
        reference_outputs(model, images),
        trained_outputs(model, images),
        folded_outputs(onnx_model, images),
    )


def main_figures(
    reference: Outputs, eval_mode: Outputs, folded: Mapping[str, Outputs]
) -> Equivalence:
    """Return the figures from the three networks' outputs on the same images."""
    served = folded["default"]
    return Equivalence(
        images=len(reference),
        eval_mode=_deviation(eval_mode, reference),
        folded={name: _deviation(outputs, reference) for name, outputs in folded.items()},
        max_difference=largest_error(served.logits, eval_mode.logits),
        max_probability_difference=largest_error(served.probabilities, eval_mode.probabilities),
        classes_equal=int((served.classes == eval_mode.classes).sum()),
        smallest_margin=float(margins(reference).min()),
    )


def check(equivalence: Equivalence) -> None:
    """Check the figures: the error is not larger than allowed, and every class is the same.

    Raises:
        EquivalenceError: naming every figure that fails, and by how much.
    """
    refuse(list(faults(equivalence)))


def refuse(found: list[str]) -> None:
    """Raise an EquivalenceError that lists all failures, if there are any."""
    if found:
        raise EquivalenceError(
            "the folded model is not the network it came from, so it is not written: "
            f"{'; '.join(found)}"
        )


def faults(found: Equivalence, allowance: Mapping[str, float] = ALLOWANCE) -> Iterator[str]:
    """Yield a message for every figure that fails, and by how much."""
    own_error = found.eval_mode.max_error
    for optimisation, deviation in found.folded.items():
        allowed = allowance[optimisation] * own_error
        # Written so that NaN fails too.
        if not deviation.max_error <= allowed:
            yield (
                f"with optimisation {optimisation} its largest logit error against float64 is "
                f"{deviation.max_error:.3g} (image {deviation.worst_image}), expected at most "
                f"{allowed:.3g}: eval mode's own is {own_error:.3g}"
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
    """Return the trained network's logits (N, K) in float64 for images (N, 1, 28, 28) uint8."""
    return reference_outputs(model, images).logits.astype(np.float64, copy=False)


def _deviation(found: Outputs, reference: Outputs) -> Deviation:
    error = absolute_errors(found.logits, reference.logits)  # (N, K)
    return Deviation(
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        worst_image=int(error.max(axis=1).argmax()),
        classes_equal=int((found.classes == reference.classes).sum()),
    )
