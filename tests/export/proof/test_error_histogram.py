"""The picture of the errors' distribution."""

import math
from pathlib import Path

from matplotlib.patches import StepPatch

from export.proof.deviation import edges
from export.proof.error_histogram import histogram_figure
from tests.export.proofs import GOOD, figures, proof
from training.figures.png import write_png


def test_every_network_has_its_histogram_and_a_line_at_its_largest_error(tmp_path: Path) -> None:
    found = proof()
    figure = histogram_figure(found)
    (axis,) = figure.axes
    steps = [patch for patch in axis.patches if isinstance(patch, StepPatch)]
    assert [tuple(step.get_data().values) for step in steps] == list(found.histograms.values())
    assert all((step.get_data().edges == edges()).all() for step in steps)
    assert [line.get_xdata()[0] for line in axis.lines] == [
        math.log10(error) for error in (9e-6, 8e-6, 8e-6)
    ]
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "eval mode, float32: largest 9e-06",
        "folded, optimisation default: largest 8e-06",
        "folded, optimisation disabled: largest 8e-06",
    ]
    assert axis.get_xlabel() == "|error| of a logit against eval mode in float64"
    assert axis.get_title() == "Errors of all logits of 100 test images"
    assert axis.get_xlim() == (-6, -5)  # the bins from -6 on hold all
    write_png(tmp_path / "errors.png", figure)
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")


def test_a_handful_of_small_errors_does_not_widen_the_picture() -> None:
    counts = (5, *(0,) * 59, 1000, *(0,) * 99)
    figure = histogram_figure(proof(histograms=dict.fromkeys(proof().histograms, counts)))
    assert figure.axes[0].get_xlim() == (-6, -5)


def test_an_error_that_is_no_number_is_drawn_at_the_end(tmp_path: Path) -> None:
    broken = (0,) * 159 + (10,)
    histograms = {**proof().histograms, "folded, default": broken}
    nan = GOOD.__class__(math.nan, math.nan, 0, 0)
    wrong = proof(
        histograms=histograms, equivalence=figures(folded={"default": nan, "disabled": GOOD})
    )
    figure = histogram_figure(wrong)
    assert figure.axes[0].lines[1].get_xdata()[0] == 4
    assert figure.axes[0].get_xlim() == (-6, 4)
    write_png(tmp_path / "errors.png", figure)
