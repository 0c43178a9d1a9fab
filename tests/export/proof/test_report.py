"""The tables for people."""

import dataclasses

from export.proof.report import describe
from tests.export.proofs import ATTACKED, LAYER, proof


def test_the_report_has_every_figure() -> None:
    """Every column under its heading: the whole text, as it is printed."""
    row = "8.00e-06  5.00e-06  1.00e-06     1e+04     300     20"
    eval_mode, default, disabled = (
        "eval mode, float32 ",
        "folded, default    ",
        "folded, disabled   ",
    )
    heading = "max    99.9 %      mean   max ULP  99.9 %   mean  classes equal"
    assert describe(proof()).splitlines() == [
        f"against eval mode, float64       {heading}",
        f"{eval_mode} logits  {row}  100 of 100",
        f"{'':19} probs.  {row}",
        f"{default} logits  {row}  100 of 100",
        f"{'':19} probs.  {row}",
        f"{disabled} logits  {row}  100 of 100",
        f"{'':19} probs.  {row}",
        f"against eval mode, float32       {heading}",
        f"{default} logits  {row}  100 of 100",
        f"{'':19} probs.  {row}",
        f"{disabled} logits  {row}  100 of 100",
        f"{'':19} probs.  {row}",
        "",
        "smallest margin of a predicted class 0.001, largest logit error 8e-06:",
        "for 100 of 100 images the margin exceeds twice the error: no rounding of that size "
        "changes the class",
        "",
        "layer by layer       trained  max error of largest  eval mode",
        "conv_0                  0, 1   1.00e-06   1.00e-07   2.00e-06",
        "sigmoid_1                  2   1.00e-06   1.00e-07   2.00e-06",
        "no layer deviates by more than rounding",
        "",
        "adversarial images    default  disabled eval mode    margin  classes equal",
        "noise                6.00e-06  7.00e-06  9.00e-06  5.00e-01  10 of 10",
        "all 0                6.00e-06  7.00e-06  9.00e-06  5.00e-01  10 of 10",
    ]


def test_what_is_wrong_shows() -> None:
    layers = (LAYER, dataclasses.replace(LAYER, node="gemm_7", max_error=0.5))
    undecided = dataclasses.replace(ATTACKED, undecided=3, classes_equal=8)
    text = describe(proof(layers=layers, adversarial={"noise": undecided}))
    assert "a deviation beyond rounding starts in gemm_7" in text
    assert text.endswith("8 of 10, 3 undecided")
