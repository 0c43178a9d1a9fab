"""Figures for the deviation of one network's outputs from another's.

An error is |found - reference|, over every number of every image. It is
summarised by its maximum, its mean, and the 99.9th percentile, which shows
whether the maximum is a single image or typical.

It is also given in ULPs, units in the last place: the distance of neighbouring
float32 numbers at the reference's magnitude, 2^(e - 23) for a reference in
[2^e, 2^(e+1)) (Goldberg, "What Every Computer Scientist Should Know About
Floating-Point Arithmetic", 1991, section 1.2). Rounding once costs half an ULP.
A logit near zero is the rest of large terms that cancelled: it has an ordinary
error and a tiny unit. So the maximum in ULPs shows how near zero a logit came,
and only the mean describes the arithmetic.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.onnx_file.outputs import Outputs

DECADES = (-12, 4)  # range of a histogram; values outside are counted in its end bins
BINS_PER_DECADE = 10


@dataclass(frozen=True)
class Summary:
    """The errors of many numbers, in three figures."""

    max: float
    mean: float
    p999: float  # 99.9th percentile


@dataclass(frozen=True)
class Errors:
    """The same errors as absolute values and in ULPs of float32."""

    absolute: Summary
    ulps: Summary


@dataclass(frozen=True)
class Comparison:
    """One network's outputs against a reference's."""

    logits: Errors
    probabilities: Errors
    classes_equal: int  # images for which both predict the same class


def compare_outputs(found: Outputs, reference: Outputs) -> Comparison:
    """Return the errors of one network's outputs against a reference's, on the same images."""
    return Comparison(
        logits=errors(found.logits, reference.logits),
        probabilities=errors(found.probabilities, reference.probabilities),
        classes_equal=int((found.classes == reference.classes).sum()),
    )


def errors(found: NDArray[np.floating], reference: NDArray[np.floating]) -> Errors:
    """Return a summary of the errors of found; both arrays have one shape and are not empty."""
    absolute = absolute_errors(found, reference)
    # A reference beyond float32's range has an infinite neighbour, and the ULPs are NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        unit = np.spacing(np.abs(reference).astype(np.float32)).astype(np.float64)
        ulps = absolute / unit
    return Errors(_summary(absolute), _summary(ulps))


def absolute_errors(
    found: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return |found - reference| in float64."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which fails every check
        difference: NDArray[np.float64] = np.abs(found.astype(np.float64) - reference)
    return difference


def largest_error(found: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Return the largest |found - reference|; NaN if any is."""
    return float(absolute_errors(found, reference).max())


def margins(reference: Outputs) -> NDArray[np.floating]:
    """Return, for each image, the predicted class's logit minus the next largest one, (N,)."""
    ranked = np.sort(reference.logits, axis=1)  # (N, K)
    margin: NDArray[np.floating] = ranked[:, -1] - ranked[:, -2]
    return margin


def histogram(found: NDArray[np.floating], reference: NDArray[np.floating]) -> tuple[int, ...]:
    """Return the counts of the errors by size, ten bins per decade over `DECADES`.

    NaN is in the last bin, an error of exactly zero in the first.
    """
    sizes = np.nan_to_num(absolute_errors(found, reference), nan=np.inf)
    lowest, highest = 10.0 ** DECADES[0], 10.0 ** DECADES[1]
    exponents = np.log10(np.clip(sizes, lowest, highest))
    counts, _ = np.histogram(exponents, edges())
    return tuple(counts.tolist())


def edges() -> NDArray[np.float64]:
    """Return the bounds of a histogram's bins, as exponents of ten."""
    lowest, highest = DECADES
    return np.linspace(lowest, highest, (highest - lowest) * BINS_PER_DECADE + 1)


def _summary(values: NDArray[np.float64]) -> Summary:
    with np.errstate(invalid="ignore"):
        return Summary(
            max=float(values.max()),
            mean=float(values.mean()),
            p999=float(np.percentile(values, 99.9)),
        )
