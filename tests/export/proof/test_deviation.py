"""The figures that describe errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.onnx_file.outputs import Outputs
from export.proof.deviation import compare_outputs, edges, errors, histogram, margins

SIZES = st.floats(2.0**-100, 2.0**100, width=32)


@given(SIZES, st.integers(1, 1000))
def test_neighbouring_float32_numbers_are_one_ulp_apart(size: float, steps: int) -> None:
    """Counted with the bits of float32 as integers, which have the same order as the numbers."""
    bits = np.float32(size).view(np.int32)
    away = (bits + np.int32(steps)).view(np.float32)
    if math.frexp(float(away))[1] != math.frexp(size)[1]:
        return  # a unit is another one beyond the next power of two
    for sign in (1, -1):
        found = errors(np.array([sign * away]), np.array([sign * np.float32(size)]))
        assert found.ulps.max == found.ulps.mean == steps


def test_rounding_once_costs_at_most_half_a_ulp() -> None:
    exact = np.random.default_rng(0).normal(size=10_000)
    found = errors(exact.astype(np.float32), exact)
    assert 0.4 < found.ulps.max <= 0.5
    assert found.ulps.mean == pytest.approx(0.25, rel=0.05)


def test_largest_mean_and_percentile_are_of_all_numbers() -> None:
    reference = np.zeros((100, 10))
    found = np.arange(1000.0).reshape(100, 10) * np.where(np.arange(10) % 2, 1, -1)
    summary = errors(found, reference).absolute
    assert summary.max == 999
    assert summary.mean == 499.5
    assert summary.p999 == pytest.approx(np.quantile(np.arange(1000), 0.999)) == 998.001


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_seen(bad: float) -> None:
    found = errors(np.array([[0.0, bad]]), np.array([[0.0, 1.0]]))
    assert not found.absolute.max <= 1e300
    assert not found.absolute.mean <= 1e300


def test_the_margin_is_the_lead_over_the_next_class() -> None:
    logits = np.array([[1.0, 5.0, 4.5], [-3.0, -1.0, -9.0]])
    np.testing.assert_allclose(margins(Outputs(logits, logits)), [0.5, 2.0])


def test_classes_are_compared_by_image() -> None:
    a = Outputs(np.eye(3), np.eye(3))
    b = Outputs(np.eye(3)[[0, 2, 2]], np.eye(3)[[0, 2, 2]])
    found = compare_outputs(a, b)
    assert found.classes_equal == 2
    assert found.logits.absolute.max == found.probabilities.absolute.max == 1
    assert found.logits.absolute.mean == pytest.approx(2 / 9)


def test_every_error_falls_into_the_bin_of_its_size() -> None:
    sizes = np.array([0.0, 1e-30, 1.1e-6, 1.2e-6, 0.5, 1e9, math.inf, math.nan])
    counts = histogram(sizes, np.zeros(8))
    bounds = edges()
    assert (bounds[0], bounds[-1], len(bounds)) == (-12, 4, 161)
    assert sum(counts) == 8
    assert counts[0] == 2
    assert counts[-1] == 3
    assert counts[int(np.searchsorted(bounds, -6 + 1e-9)) - 1] == 2
    assert counts[int(np.searchsorted(bounds, math.log10(0.5))) - 1] == 1
