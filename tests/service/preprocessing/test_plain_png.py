"""The fast reader of plain PNG files: Pillow's own pixels, or none."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from service.preprocessing import plain_png
from service.preprocessing.opening import open_image
from service.preprocessing.plain_png import END, START, plain_head
from tests.service.pictures import encode, preprocess, save

SIDE = 28
HEAD = plain_head(SIDE, SIDE)
PIXELS = arrays(np.uint8, (SIDE, SIDE))
FILTERS = st.integers(0, 4)  # of a row: none, sub, up, average, Paeth (PNG, section 9)


def png(content: bytes) -> bytes:
    """A PNG whose IDAT holds these bytes, with its right length and CRC."""
    body = b"IDAT" + content
    crc = struct.pack(">I", zlib.crc32(body))
    return HEAD + struct.pack(">I", len(content)) + body + crc + END


def read_plain_png(content: bytes) -> NDArray[np.uint8] | None:
    return plain_png.read_plain_png(content, SIDE, SIDE)


def pillows(content: bytes) -> NDArray[np.uint8]:
    return preprocess(open_image(content, 10**6)).pixels


@given(PIXELS)
def test_what_pillow_writes_comes_out_as_it_was(pixels: NDArray[np.uint8]) -> None:
    found = read_plain_png(encode(pixels))
    assert found is not None
    np.testing.assert_array_equal(found, pixels)


@given(PIXELS, st.lists(FILTERS, min_size=SIDE, max_size=SIDE), st.integers(0, 9))
def test_every_filter_and_level_gives_pillows_pixels(
    raw: NDArray[np.uint8], filters: list[int], level: int
) -> None:
    rows = b"".join(bytes([kind]) + row.tobytes() for kind, row in zip(filters, raw, strict=True))
    content = png(zlib.compress(rows, level))
    found = read_plain_png(content)
    assert found is not None
    np.testing.assert_array_equal(found, pillows(content))


@given(st.data())
def test_a_damaged_file_gives_what_pillow_gives_or_nothing(data: st.DataObject) -> None:
    stream = bytearray(encode(data.draw(PIXELS))[START : -len(END) - 4])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(stream)))
        stream[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    content = png(bytes(stream))  # its CRC is right: the damage is in the compressed stream
    found = read_plain_png(content)
    if found is not None:
        np.testing.assert_array_equal(found, pillows(content))


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_bit_is_left_to_pillow(place: int, mask: int) -> None:
    content = bytearray(encode(np.eye(SIDE, dtype=np.uint8) * 200))
    content[place % len(content)] ^= mask
    assert read_plain_png(bytes(content)) is None


def test_a_file_cut_off_anywhere_is_left_to_pillow() -> None:
    content = encode(np.eye(SIDE, dtype=np.uint8) * 200)
    body = content.removesuffix(END)
    for length in range(len(body)):
        assert read_plain_png(body[:length]) is None
        assert read_plain_png(body[:length] + END) is None


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (SIDE, SIDE)),
        Image.new("L", (SIDE + 1, SIDE)),
        Image.new("1", (SIDE, SIDE)),
        Image.new("I;16", (SIDE, SIDE)),
        Image.new("LA", (SIDE, SIDE)),
    ],
    ids=lambda image: f"{image.mode} {image.width}",
)
def test_other_pictures_are_left_to_pillow(image: Image.Image) -> None:
    assert read_plain_png(save(image, "PNG")) is None
