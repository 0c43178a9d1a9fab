"""Draw the distribution of the logits' errors, for each network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from export.proof.deviation import BINS_PER_DECADE, DECADES, edges
from export.proof.prove import EVAL_MODE, Proof

A_HANDFUL = 100  # a bin at the left end is shown if it has a hundredth of the fullest bin
COLOURS = ("tab:gray", "tab:blue", "tab:orange")


def histogram_figure(proof: Proof) -> Figure:
    """Return a figure of a proof's errors on the test set, against float64."""
    own = {EVAL_MODE: proof.equivalence.eval_mode.max_error}
    largest = own | {f"folded, {k}": d.max_error for k, d in proof.equivalence.folded.items()}
    runs = {_title(name): (counts, largest[name]) for name, counts in proof.histograms.items()}
    return errors_figure(runs, proof.equivalence.images)


def errors_figure(runs: Mapping[str, tuple[Sequence[int], float]], images: int) -> Figure:
    """Return a figure with histograms of the logits' errors against float64, on a log scale.

    A dashed line marks each network's largest error. Errors of zero are in the
    lowest bin, infinite or NaN ones in the highest.

    Args:
        runs: name -> counts in `deviation.edges`, and the largest error; the first is filled.
        images: how many there are.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.add_subplot()
    for index, ((name, (counts, largest)), colour) in enumerate(
        zip(runs.items(), COLOURS, strict=True)
    ):
        label = f"{name}: largest {largest:.2g}"
        axis.stairs(counts, edges(), color=colour, label=label, fill=index == 0, alpha=0.8)
        axis.axvline(_exponent(largest), color=colour, linestyle="--", linewidth=1)
    axis.set_xlim(*_range(np.sum([counts for counts, _ in runs.values()], axis=0)))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.xaxis.set_major_formatter(lambda exponent, _: f"$10^{{{exponent:g}}}$")
    axis.set_xlabel("|error| of a logit against eval mode in float64")
    axis.set_ylabel(f"logits per bin ({BINS_PER_DECADE} bins a decade)")
    axis.set_title(f"Errors of all logits of {images:,} test images")
    axis.legend(loc="upper left")
    axis.grid(alpha=0.3)
    return figure


def _title(name: str) -> str:
    return name if name == EVAL_MODE else f"{name.replace('folded, ', 'folded, optimisation ')}"


def _exponent(error: float) -> float:
    lowest, highest = DECADES
    exponent = np.log10(np.clip(np.nan_to_num(error, nan=np.inf), 10.0**lowest, 10.0**highest))
    return float(exponent)


def _range(counts: NDArray[np.int_]) -> tuple[float, float]:
    """Return whole decades from the first bin that is not almost empty to the largest error."""
    exponents = edges()
    shown = np.flatnonzero(counts > counts.max() / A_HANDFUL)
    highest = np.flatnonzero(counts)[-1]
    return float(np.floor(exponents[shown[0]])), float(np.ceil(exponents[highest + 1]))
