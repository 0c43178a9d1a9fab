"""The figures of a proof as text."""

from collections.abc import Iterator

from export.proof.deviation import Comparison, Errors, Summary
from export.proof.layers import LayerDeviation, first_beyond_rounding
from export.proof.prove import Proof

NAME = 19  # the first column's width


def describe(proof: Proof) -> str:
    """Return all figures as tables."""
    return "\n".join(
        [
            *_comparisons(proof),
            "",
            *_decisions(proof),
            "",
            *_layers(proof),
            "",
            *_adversarial(proof),
        ]
    )


def _comparisons(proof: Proof) -> Iterator[str]:
    for reference, networks in proof.comparisons.items():
        yield (
            f"{f'against {reference}':26} {'max':>9} {'99.9 %':>9} {'mean':>9} "
            f"{'max ULP':>9} {'99.9 %':>7} {'mean':>6}  classes equal"
        )
        for name, comparison in networks.items():
            yield from _comparison(name, comparison, proof.equivalence.images)


def _comparison(name: str, comparison: Comparison, images: int) -> Iterator[str]:
    classes = f"  {comparison.classes_equal:,} of {images:,}"
    yield f"{name:{NAME}} logits {_errors(comparison.logits)}{classes}"
    yield f"{'':{NAME}} probs. {_errors(comparison.probabilities)}"


def _errors(errors: Errors) -> str:
    return f"{_summary(errors.absolute)} {_ulps(errors.ulps)}"


def _summary(found: Summary) -> str:
    return f"{found.max:9.2e} {found.p999:9.2e} {found.mean:9.2e}"


def _ulps(found: Summary) -> str:
    return f"{found.max:9.3g} {found.p999:7.3g} {found.mean:6.3g}"


def _decisions(proof: Proof) -> Iterator[str]:
    found, images = proof.decisions, proof.equivalence.images
    yield (
        f"smallest margin of a predicted class {found.smallest_margin:.3g}, largest logit error "
        f"{found.largest_error:.3g}:"
    )
    yield (
        f"for {found.proved:,} of {images:,} images the margin exceeds twice the error: no "
        "rounding of that size changes the class"
    )


def _layers(proof: Proof) -> Iterator[str]:
    yield (
        f"{'layer by layer':{NAME}} {'trained':>8} {'max error':>10} {'of largest':>10} "
        f"{'eval mode':>10}"
    )
    yield from map(_layer, proof.layers)
    start = first_beyond_rounding(proof.layers)
    if start is None:
        yield "no layer deviates by more than rounding"
    else:
        yield f"a deviation beyond rounding starts in {start.node}"


def _layer(layer: LayerDeviation) -> str:
    return (
        f"{layer.node:{NAME}} {', '.join(layer.trained):>8} {layer.max_error:10.2e} "
        f"{layer.relative_error:10.2e} {layer.eval_mode_error:10.2e}"
    )


def _adversarial(proof: Proof) -> Iterator[str]:
    yield (
        f"{'adversarial images':{NAME}} {'default':>9} {'disabled':>9} {'eval mode':>9} "
        f"{'margin':>9}  classes equal"
    )
    for kind, found in proof.adversarial.items():
        errors = " ".join(f"{error:9.2e}" for error in found.folded_error.values())
        undecided = f", {found.undecided} undecided" if found.undecided else ""
        yield (
            f"{kind:{NAME}} {errors} {found.eval_mode_error:9.2e} {found.smallest_margin:9.2e}  "
            f"{found.classes_equal:,} of {found.images:,}{undecided}"
        )
