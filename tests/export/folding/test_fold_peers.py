"""No folded weight or bias has a larger error than torch's or ONNX Runtime's own."""

import pytest

from benchmarks.folding_accuracy import cases, measure


@pytest.mark.parametrize("case", cases())
def test_no_number_is_farther_from_exact_than_the_peers(case: str) -> None:
    measured = measure(case, draws=2)
    peers = {"torch"} if case.startswith(("ConvT", "Linear")) else {"torch", "ONNX Runtime"}
    assert {way for way in measured if "ours" not in way} == {"eval mode", *peers}
    assert all(measured[peer].never_worse for peer in peers)
    assert measured["ours"].largest <= 1 + 1e-4  # rounded once: half a unit in the last place
    assert all(measured[peer].largest > 2 for peer in peers)
