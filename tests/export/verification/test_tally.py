"""Figures that are added up batch by batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from export.proof.deviation import histogram
from export.verification.tally import Tally


@given(st.integers(1, 40), st.integers(2, 6), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_batches_add_up_to_the_whole(images: int, classes: int, batch: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    right = random.normal(size=(images, classes))
    found = (right + random.normal(size=right.shape) * 0.1).astype(np.float32)
    tally = Tally()
    for start in range(0, images, batch):
        tally.add(found[start : start + batch], right[start : start + batch])
    run, error = tally.run(), np.abs(found - right)
    assert run.images == images
    assert run.max_error == error.max()
    assert np.isclose(run.mean_error, error.mean(), rtol=1e-12)
    assert run.worst_image == error.max(axis=1).argmax()
    wrong = np.flatnonzero(found.argmax(axis=1) != right.argmax(axis=1))
    assert run.wrong == tuple(wrong.tolist())
    assert run.classes_equal == images - len(wrong)
    assert run.histogram == histogram(found, right)


def test_what_is_no_number_is_the_largest_error() -> None:
    tally = Tally()
    tally.add(np.array([[9.0, 1.0]]), np.array([[1.0, 2.0]]))
    tally.add(np.array([[np.nan, 1.0]]), np.array([[1.0, 2.0]]))
    tally.add(np.array([[50.0, 1.0]]), np.array([[1.0, 2.0]]))
    run = tally.run()
    assert (run.max_error, run.worst_image) == (np.inf, 1)
