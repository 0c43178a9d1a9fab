"""Artificial proofs, to be judged, written, and drawn."""

import dataclasses

from export.proof.adversarial import AdversarialResult
from export.proof.deviation import Comparison, Errors, Summary
from export.proof.equivalence import Deviation, Equivalence
from export.proof.layers import LayerDeviation
from export.proof.prove import EVAL_MODE, REFERENCE, Decisions, Proof

GOOD = Deviation(max_error=8e-6, mean_error=1e-6, worst_image=5, classes_equal=100)
LAYER = LayerDeviation("conv_0", ("0", "1"), 1e-6, 10.0, 2e-6)
ATTACKED = AdversarialResult(
    images=10,
    eval_mode_error=9e-6,
    folded_error={"default": 6e-6, "disabled": 7e-6},
    classes_equal=10,
    smallest_margin=0.5,
    undecided=0,
)


def figures(**changes: object) -> Equivalence:
    """The result of a comparison that passes."""
    found = Equivalence(
        images=100,
        eval_mode=dataclasses.replace(GOOD, max_error=9e-6),
        folded={"default": GOOD, "disabled": GOOD},
        max_difference=1e-5,
        max_probability_difference=1e-6,
        classes_equal=100,
        smallest_margin=1e-3,
    )
    return dataclasses.replace(found, **changes)


def proof(**changes: object) -> Proof:
    """A proof that passes."""
    errors = Errors(Summary(8e-6, 1e-6, 5e-6), Summary(1e4, 20.0, 300.0))
    comparison = Comparison(errors, errors, 100)
    folded = {"folded, default": comparison, "folded, disabled": comparison}
    counts = (0,) * 60 + (3, 7) + (0,) * 98
    good = Proof(
        equivalence=figures(),
        comparisons={REFERENCE: {EVAL_MODE: comparison, **folded}, EVAL_MODE: folded},
        decisions=Decisions(1e-3, 8e-6, 100, 0),
        layers=(LAYER, dataclasses.replace(LAYER, node="sigmoid_1", trained=("2",))),
        adversarial={"noise": ATTACKED, "all 0": dataclasses.replace(ATTACKED, images=10)},
        histograms={EVAL_MODE: counts, "folded, default": counts, "folded, disabled": counts},
        differences=(),
    )
    return dataclasses.replace(good, **changes)
