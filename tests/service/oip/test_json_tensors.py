"""Images from JSON numbers and from bytes are read exactly, and every error is named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.oip.json_tensors import image_shape, images_from_bytes, images_from_json, shorten
from tests.service.pictures import FASHION

ONE = (1, 1, 28, 28)
ZEROS = [0] * 784
ENDS = [0, 255] * 392


@st.composite
def batches(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Random images (N, 1, 28, 28)."""
    count, seed = draw(st.integers(1, 5)), draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 28, 28), np.uint8)


@given(batches())
def test_flat_and_nested_numbers_and_bytes_are_the_same_images(images: NDArray[np.uint8]) -> None:
    for data in (images.ravel().tolist(), images.tolist()):
        found = images_from_json(orjson.loads(orjson.dumps(data)), images.shape)
        np.testing.assert_array_equal(found, images)
        assert (found.dtype, found.shape) == (np.uint8, images.shape)
    body = b"{...}" + images.tobytes()
    found = images_from_bytes(body, 5, images.shape)
    np.testing.assert_array_equal(found, images)
    assert np.shares_memory(found, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(
    "value", [256, -1, 2**63, 1e30, 3.0, 0.5, True, False, "7", None, [1], {"a": 1}], ids=repr
)
@pytest.mark.parametrize("index", [1, 783])
def test_a_wrong_value_is_named_with_its_place(value: Any, index: int) -> None:
    data = [*ENDS[:index], value, *ENDS[index + 1 :]]
    with pytest.raises(InvalidInput) as caught:
        images_from_json(data, ONE)
    assert str(caught.value) == (
        f"the data of 'image' at index {index}: expected an integer from 0 to 255, got {value!r}"
    )


@pytest.mark.parametrize(("data", "count"), [([], "0"), ([0] * 783, "783"), ([0] * 1568, "1,568")])
def test_a_wrong_number_of_values_is_named(data: list[int], count: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        images_from_json(data, ONE)
    assert str(caught.value) == (
        f"the data of 'image' has {count} numbers, its shape [1, 1, 28, 28] needs 784"
    )


@pytest.mark.parametrize("data", [None, "0" * 784, {"0": 0}, 7, True])
def test_data_that_is_no_list_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        images_from_json(data, ONE)
    assert str(caught.value) == (
        f"the data of 'image': expected a list of numbers, got {shorten(data)}"
    )


ROWS = [[0] * 28] * 28


@pytest.mark.parametrize(
    ("data", "axis"),
    [
        ([[ROWS], [ROWS, ROWS]], 1),
        ([[ROWS], 0], 1),
        ([[ROWS], "x"], 1),
        ([[ROWS], [ROWS[:27]]], 2),
        ([[ROWS], [[*ROWS[:27], [0] * 27]]], 3),
        ([[ROWS], [[*ROWS[:27], "0" * 28]]], 3),
        ([[0] * 784, [0] * 784], 1),
        ([ROWS, ROWS], 1),
        ([[]], 1),
    ],
)
def test_ragged_nesting_is_refused_with_its_axis(data: list[Any], axis: int) -> None:
    with pytest.raises(InvalidInput, match=f"nested unevenly: at axis {axis} every list must"):
        images_from_json(data, (2, 1, 28, 28))


def test_nested_values_are_checked_as_flat_ones_are() -> None:
    with pytest.raises(InvalidInput, match=r"at index 783: .* got 300"):
        images_from_json([[[*ROWS[:27], [*ZEROS[:27], 300]]]], ONE)
    with pytest.raises(InvalidInput, match=r"at index 0: .* got \[\.*.*"):
        images_from_json([[[[[0]] * 28] * 28]], ONE)


def test_a_batch_of_any_size_is_a_shape() -> None:
    assert image_shape([1, 1, 28, 28], FASHION.shape) == ONE
    assert image_shape([2**62, 1, 28, 28], FASHION.shape) == (2**62, 1, 28, 28)


@pytest.mark.parametrize(
    "shape",
    [
        *([28, 28], [1, 28, 28], [784], [], [1, 28, 28, 1], [1, 1, 28, 28, 1], [1, 3, 28, 28]),
        *([0, 1, 28, 28], [-1, 1, 28, 28], [True, 1, 28, 28], [1, True, 28, 28], [1.0, 1, 28, 28]),
        *(["1", 1, 28, 28], [None, 1, 28, 28], [[1], 1, 28, 28], [1e30, 1, 28, 28]),
        *(None, "1,1,28,28", 784, {}),
    ],
    ids=repr,
)
def test_any_other_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        image_shape(shape, FASHION.shape)
    assert str(caught.value).startswith(
        f"the shape of 'image': expected [N, 1, 28, 28], got {shape!r}"
    )


def test_an_error_repeats_no_long_value() -> None:
    assert shorten("x" * 58) == "'" + "x" * 58 + "'"  # 60 characters
    assert shorten("x" * 1000) == "'" + "x" * 59 + "..."


class Unseen:
    """A value whose `repr` must not be made."""

    def __repr__(self) -> str:
        raise AssertionError("the error does not show so much")


@pytest.mark.parametrize("nest", [lambda x: x, lambda x: [x], lambda x: {"key": x}])
def test_what_an_error_does_not_show_is_not_written(nest: Callable[[Any], Any]) -> None:
    numbers = nest([1] * 100)
    assert shorten(nest([1] * 100 + [Unseen()])) == shorten(numbers) == f"{numbers!r:.60}..."


@pytest.mark.parametrize("value", [[], {}, [[]], [1, [2, {"a": "b"}]], ["x" * 30, {"y": [None]}]])
def test_an_error_shows_a_short_value_as_it_is(value: Any) -> None:
    assert shorten(value) == repr(value)
