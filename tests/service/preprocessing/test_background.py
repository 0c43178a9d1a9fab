"""The background of a photograph: what is found of it, and how the garment's edge is negated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from service.preprocessing.background import find_background

SIDE = 60


def a_picture(page: float, garment: int, edge: float = 1) -> Image.Image:
    """A square of 30 in the middle of a page; `edge` is its outermost pixels' share of garment."""
    pixels = np.full((SIDE, SIDE), page, np.float32)
    pixels[15:45, 15:45] = edge * garment + (1 - edge) * page
    pixels[16:44, 16:44] = garment
    return Image.fromarray(pixels.round().astype(np.uint8))


@given(arrays(np.bool_, st.tuples(st.integers(3, 20), st.integers(3, 20))))
def test_background_is_what_is_connected_to_the_border(bright: NDArray[np.bool_]) -> None:
    """Within a border of its brightness, through any labyrinth, as SciPy finds it."""
    candidates = np.pad(bright, 2, constant_values=True)
    labels, _ = label(candidates)
    found = find_background(Image.fromarray(np.where(candidates, 200, 20).astype(np.uint8)))
    assert (found.mask == (labels == labels[0, 0])).all()


def test_the_background_may_be_darker_at_one_side() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pixels = 120 + rows + columns / 2
    pixels[20:40, 20:40] = 60
    mask = find_background(Image.fromarray(pixels.astype(np.uint8))).mask
    assert not mask[20:40, 20:40].any()
    assert mask.sum() == SIDE**2 - 20**2


@pytest.mark.parametrize("page", [255, 200, 90])
@pytest.mark.parametrize("garment", [30, 140])
def test_a_soft_edge_becomes_what_it_is_before_white(page: int, garment: int) -> None:
    negated = find_background(a_picture(page, garment, edge=0.5)).negated().astype(int)
    assert negated[16:44, 16:44] == pytest.approx(255 - garment)
    assert negated[15, 15:45] == pytest.approx(0.5 * (255 - garment), abs=3)
    assert negated[:15].max() == 0


def test_a_hard_edge_stays() -> None:
    assert find_background(a_picture(0, 200)).negated()[15, 15:45] == pytest.approx(55, abs=2)


def test_a_garment_thinner_than_its_edges_stays() -> None:
    """A strap of two pixels has no inside to compare its edge with."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[29:31] = 100
    pixels[:, :5] = pixels[:, -5:] = 0
    assert (find_background(Image.fromarray(pixels)).negated()[29:31, 5:-5] == 155).all()


@pytest.mark.parametrize(("deviation", "plain"), [(3, True), (12, False)])
def test_a_rough_border_is_no_background(deviation: float, plain: bool) -> None:
    """Of noise with a deviation of 3, a quarter of the steps exceed 5; the limit is 6."""
    pixels = np.asarray(a_picture(150, 30)) + np.random.default_rng(0).normal(
        0, deviation, (SIDE, SIDE)
    )
    background = find_background(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    assert background.mask.any() == plain
    if not plain:
        assert (background.negated() == 255 - background.pixels).all()
