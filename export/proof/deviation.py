"""How far one network's answers are from another's, as figures.

An error is |found - reference|, taken over every number of every image. It is
summed up as its largest, its mean, and the 99.9th percentile, which says
whether the largest is one odd image or the rule.

It is also told in ULPs, units in the last place: the distance of neighbouring
float32 numbers at the reference's magnitude, 2^(e - 23) for a reference in
[2^e, 2^(e+1)) (Goldberg, "What Every Computer Scientist Should Know About
Floating-Point Arithmetic", 1991, section 1.2). Half an ULP is what rounding
once costs. A logit near zero is what is left of terms that cancelled: it has
an ordinary error and a tiny unit, so that the largest number of ULPs says how
near zero a logit came, and only the mean is about the arithmetic.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.onnx_file.outputs import Outputs

DECADES = (-12, 4)  # what a histogram spans; all that is outside goes into its end bins
BINS_PER_DECADE = 10


@dataclass(frozen=True)
class Summary:
    """The errors of many numbers in three."""

    max: float
    mean: float
    p999: float  # 99.9th percentile


@dataclass(frozen=True)
class Errors:
    """The same errors, as they are and in ULPs of float32."""

    absolute: Summary
    ulps: Summary


@dataclass(frozen=True)
class Comparison:
    """One network's answers against a reference's."""

    logits: Errors
    probabilities: Errors
    classes_equal: int  # images for which both predict the same class


def compare_outputs(found: Outputs, reference: Outputs) -> Comparison:
    """Measure one network's answers against a reference's to the same images."""
    return Comparison(
        logits=errors(found.logits, reference.logits),
        probabilities=errors(found.probabilities, reference.probabilities),
        classes_equal=int((found.classes == reference.classes).sum()),
    )


def errors(found: NDArray[np.floating], reference: NDArray[np.floating]) -> Errors:
    """Sum up the errors of found, both of one shape and not empty."""
    absolute = absolute_errors(found, reference)
    # A reference beyond float32's range has infinity for a neighbour: no ULPs, which is NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        unit = np.spacing(np.abs(reference).astype(np.float32)).astype(np.float64)
        ulps = absolute / unit
    return Errors(_summary(absolute), _summary(ulps))


def absolute_errors(
    found: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """|found - reference| in float64."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which no check lets pass
        difference: NDArray[np.float64] = np.abs(found.astype(np.float64) - reference)
    return difference


def largest_error(found: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Return the largest |found - reference|; NaN if any is."""
    return float(absolute_errors(found, reference).max())


def margins(reference: Outputs) -> NDArray[np.floating]:
    """Lead of each image's predicted class's logit over the next, (N,)."""
    ranked = np.sort(reference.logits, axis=1)  # (N, K)
    margin: NDArray[np.floating] = ranked[:, -1] - ranked[:, -2]
    return margin


def histogram(found: NDArray[np.floating], reference: NDArray[np.floating]) -> tuple[int, ...]:
    """Count the errors by size, ten bins a decade over `DECADES`; NaN goes into the last.

    An error of exactly zero is in the first bin.
    """
    sizes = np.nan_to_num(absolute_errors(found, reference), nan=np.inf)
    lowest, highest = 10.0 ** DECADES[0], 10.0 ** DECADES[1]
    exponents = np.log10(np.clip(sizes, lowest, highest))
    counts, _ = np.histogram(exponents, edges())
    return tuple(counts.tolist())


def edges() -> NDArray[np.float64]:
    """The bounds of a histogram's bins, as exponents of ten."""
    lowest, highest = DECADES
    return np.linspace(lowest, highest, (highest - lowest) * BINS_PER_DECADE + 1)


def _summary(values: NDArray[np.float64]) -> Summary:
    with np.errstate(invalid="ignore"):
        return Summary(
            max=float(values.max()),
            mean=float(values.mean()),
            p999=float(np.percentile(values, 99.9)),
        )
