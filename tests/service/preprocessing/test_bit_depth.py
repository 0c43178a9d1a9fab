"""Grey of 16 and 32 bits is converted to 8, or rejected with its range."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import InvalidInput
from service.preprocessing.bit_depth import to_8_bit
from tests.service.pictures import read_image, save

EIGHT_BITS = st.lists(st.integers(0, 255), min_size=1, max_size=30)


def grey(values: NDArray[np.generic]) -> Image.Image:
    """A picture of one row of values (W,)."""
    return Image.fromarray(values[None])


@given(EIGHT_BITS)
def test_sixteen_bits_lose_their_lower_half(values: list[int]) -> None:
    wide = np.array(values, np.uint16) * 257  # (W,)
    assert to_8_bit(grey(wide)).tobytes() == bytes(values)


@pytest.mark.parametrize(
    ("white", "dtype"),
    [(255, np.int32), (65535, np.int32), (1, np.float32), (255, np.float32), (65535, np.float32)],
)
@given(values=EIGHT_BITS)
def test_thirty_two_bits_are_scaled_by_the_white_they_mean(
    white: int, dtype: type[np.number], values: list[int]
) -> None:
    scaled = np.array([*values, 255], np.float64) * white / 255
    assert to_8_bit(grey(scaled.astype(dtype))).tobytes() == bytes([*values, 255])


@pytest.mark.parametrize(
    ("values", "dtype", "seen"),
    [
        ([-1, 200], np.int32, "from -1 to 200"),
        ([0, 65536], np.int32, "from 0 to 65536"),
        ([-0.5, 0.5], np.float32, "from -0.5 to 0.5"),
        ([0, 1e6], np.float32, "from 0.0 to 1000000.0"),
        ([0, np.nan], np.float32, "from nan to nan"),
        ([0, np.inf], np.float32, "from 0.0 to inf"),
    ],
)
def test_a_range_that_means_no_white_is_refused(
    values: list[float], dtype: type[np.number], seen: str
) -> None:
    content = save(grey(np.array(values, dtype)), "TIFF")
    with pytest.raises(InvalidInput, match=re.escape(f"32-bit values {seen}: bring them to 0 to")):
        read_image(content, 1000)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", np.int32, np.float32])
def test_pictures_of_many_rows_keep_them_in_order(dtype: str | type[np.number]) -> None:
    values = (np.arange(3_000_000) // 46).reshape(3000, 1000)  # (H, W), no two pieces alike
    image = Image.fromarray(values.astype(dtype))
    expected = values / 257
    found = np.asarray(to_8_bit(image))
    assert np.abs(found - expected).max() < 1


def test_a_large_picture_is_not_copied_twice() -> None:
    image = Image.new("I", (4000, 4000), 65535)
    tracemalloc.start()
    to_8_bit(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7 * 4000 * 4000  # bytes: 5 a pixel, and 16 for each in a piece; Pillow's way 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_eight_bits_are_left_alone(mode: str) -> None:
    image = Image.new(mode, (3, 3))
    assert to_8_bit(image) is image
