"""The background that a PNG names, in every colour type and depth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.preprocessing.readers import png_chunks
from tests.service.pictures import save, with_png_chunk


def png_background(content: bytes) -> png_chunks.Colour | None:
    header = png_chunks.png_header(content)
    return header and png_chunks.png_background(header)


def png(mode: str, background: bytes, **options: int) -> bytes:
    return with_png_chunk(save(Image.new(mode, (3, 3)), "PNG", **options), b"bKGD", background)


@pytest.mark.parametrize(
    ("mode", "chunk", "expected"),
    [
        ("L", bytes([0, 7]), (7, 7, 7)),
        ("LA", bytes([0, 255]), (255, 255, 255)),
        ("RGB", bytes([0, 1, 0, 2, 0, 3]), (1, 2, 3)),
        ("RGBA", bytes([0, 255, 0, 0, 0, 9]), (255, 0, 9)),
        ("I;16", bytes([255, 255]), (255, 255, 255)),
        ("I;16", bytes([128, 0]), (127, 127, 127)),
        ("1", bytes([0, 1]), (255, 255, 255)),
    ],
)
def test_a_colour_comes_out_in_eight_bits(
    mode: str, chunk: bytes, expected: tuple[int, int, int]
) -> None:
    assert png_background(png(mode, chunk)) == expected


def test_a_palette_gives_its_entry() -> None:
    image = Image.new("P", (3, 3), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    content = save(image, "PNG")
    assert png_background(with_png_chunk(content, b"bKGD", bytes([1]))) == (40, 50, 60)
    assert png_background(with_png_chunk(content, b"bKGD", bytes([200]))) is None


@pytest.mark.parametrize(
    ("mode", "chunk"),
    [("L", b""), ("L", b"1"), ("RGB", b"12"), ("RGBA", b"1234567"), ("L", b"\1\0")],
)
def test_a_chunk_that_is_no_colour_names_none(mode: str, chunk: bytes) -> None:
    assert png_background(png(mode, chunk)) is None


@given(st.binary(max_size=60), st.sampled_from(["PNG", "GIF", "JPEG"]), st.integers(0, 80))
def test_any_bytes_name_a_colour_or_none(tail: bytes, kind: str, length: int) -> None:
    found = png_background(save(Image.new("L", (3, 3)), kind)[:length] + tail)
    assert found is None or all(0 <= value <= 255 for value in found)
