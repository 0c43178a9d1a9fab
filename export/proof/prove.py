"""The whole proof: on the test set, on adversarial images, layer by layer, and bit by bit."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from torch import Tensor, nn

from export.onnx_file.outputs import Outputs, folded_outputs, reference_outputs, trained_outputs
from export.proof import equivalence
from export.proof.adversarial import AdversarialResult, attack
from export.proof.deviation import Comparison, compare_outputs, histogram, margins
from export.proof.equivalence import Equivalence, main_figures
from export.proof.layers import LayerDeviation, compare_layers, first_beyond_rounding
from export.proof.refolding import graph_differences

EVAL_MODE = "eval mode, float32"
REFERENCE = "eval mode, float64"

# The allowed error on adversarial images, in multiples of that on the test set. Some kinds have
# only one image with ten logits, where it is chance which of two errors is smaller. On 17
# checkpoints the error was up to 0.84 (default) and 1.64 (disabled) times eval mode's.
ADVERSARIAL_ALLOWANCE = 2.0

# Layers show where a deviation starts, not whether there is one: a tenth of the images is enough.
LAYER_IMAGES = 1000


@dataclass(frozen=True)
class Decisions:
    """How many of the test set's predicted classes rounding cannot change."""

    smallest_margin: float  # smallest lead of a predicted class's logit over the next, float64
    largest_error: float  # of any logit of any run of the folded model, against float64
    proved: int  # images whose margin exceeds twice that: no such error can change their class
    undecided: int  # the others


@dataclass(frozen=True)
class Proof:
    """All measured figures, on the test set unless noted."""

    equivalence: Equivalence  # the main figures, which the model carries
    comparisons: Mapping[str, Mapping[str, Comparison]]  # reference -> network -> figures
    decisions: Decisions
    layers: tuple[LayerDeviation, ...]  # on the first `LAYER_IMAGES` images
    adversarial: Mapping[str, AdversarialResult]  # by kind of image
    histograms: Mapping[str, tuple[int, ...]]  # network -> logit errors in `deviation.edges`
    differences: tuple[str, ...]  # from the checkpoint folded again, and from its metadata


def prove(
    model: nn.Sequential, proto: onnx.ModelProto, refolded: onnx.ModelProto, images: Tensor
) -> Proof:
    """Return all figures of a folded model against the trained network, on the CPU.

    Args:
        model: the trained network in eval mode; takes float32 in [0, 1].
        proto: the folded model; takes the images' own bytes.
        refolded: the trained network folded again.
        images: (N, 1, 28, 28) uint8, N at least 1.

    Raises:
        ModelError: ONNX Runtime cannot compute the model.
    """
    content = proto.SerializeToString()
    reference = reference_outputs(model, images)
    eval_mode = trained_outputs(model, images)
    folded = folded_outputs(content, images)
    figures = main_figures(reference, eval_mode, folded)
    named = {f"folded, {name}": outputs for name, outputs in folded.items()}
    networks = {EVAL_MODE: eval_mode, **named}
    return Proof(
        equivalence=figures,
        comparisons={
            REFERENCE: {
                name: compare_outputs(found, reference) for name, found in networks.items()
            },
            EVAL_MODE: {name: compare_outputs(found, eval_mode) for name, found in named.items()},
        },
        decisions=_decide(figures, reference),
        layers=tuple(compare_layers(model, proto, refolded, images[:LAYER_IMAGES])),
        adversarial=attack(model, content),
        histograms={
            name: histogram(found.logits, reference.logits) for name, found in networks.items()
        },
        differences=tuple(graph_differences(proto, refolded)),
    )


def _decide(figures: Equivalence, reference: Outputs) -> Decisions:
    """Return the decisions: logits with errors up to e keep their order if more than 2 e apart."""
    # Python's own max() ignores NaN unless it comes first.
    largest = float(np.max([deviation.max_error for deviation in figures.folded.values()]))
    proved = int((margins(reference) > 2 * largest).sum())
    return Decisions(figures.smallest_margin, largest, proved, figures.images - proved)


def faults(proof: Proof, allowance: Mapping[str, float] = equivalence.ALLOWANCE) -> list[str]:
    """Return a message for each failure of the proof; an empty list is a pass.

    On the test set: `equivalence.faults`. On adversarial images, the limit is
    `ADVERSARIAL_ALLOWANCE` times the usual one, with eval mode's error taken as the larger of
    that on the test set and that on the kind of image. Bit by bit: no difference is allowed. If
    an error is too large, the layer in which it starts is named.
    """
    behaviour = [
        *equivalence.faults(proof.equivalence, allowance),
        *_adversarial_faults(proof, allowance),
    ]
    start = first_beyond_rounding(proof.layers)
    if behaviour and start is not None:
        behaviour.append(
            f"the deviation starts in {start.node} (trained layers {', '.join(start.trained)}), "
            f"which is off by {start.max_error:.3g} where its values go up to "
            f"{start.magnitude:.3g}; eval mode's own error there is {start.eval_mode_error:.3g}"
        )
    return [*behaviour, *proof.differences]


def _adversarial_faults(proof: Proof, allowance: Mapping[str, float]) -> Iterator[str]:
    on_test_set = proof.equivalence.eval_mode.max_error
    for kind, result in proof.adversarial.items():
        own = max(result.eval_mode_error, on_test_set)
        for optimisation, error in result.folded_error.items():
            allowed = ADVERSARIAL_ALLOWANCE * allowance[optimisation] * own
            if not error <= allowed:
                yield (
                    f"on adversarial images ({kind}) with optimisation {optimisation} its largest "
                    f"logit error against float64 is {error:.3g}, expected at most {allowed:.3g}"
                )


def as_json(proof: Proof) -> dict[str, Any]:
    """Return every figure for a JSON file; the main ones are the same as in the model."""
    content = asdict(proof)
    start = first_beyond_rounding(proof.layers)
    return {
        "figures": content["equivalence"],
        "comparisons": content["comparisons"],
        "decisions": content["decisions"],
        "layers": [
            {**asdict(layer), "relative_error": layer.relative_error} for layer in proof.layers
        ],
        "deviation_starts": start.node if start is not None else None,
        "adversarial": content["adversarial"],
    }
