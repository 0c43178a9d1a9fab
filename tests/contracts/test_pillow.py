"""Pillow: which decoder reads a file, in which pieces, and its decoder of raw deflate.

Stood on by `service.images` and `service.plain_png`.
"""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

GREY = np.arange(784, dtype=np.uint8).reshape(28, 28)


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("chosen", "decoder"), [(True, "libtiff"), (False, "raw")])
def test_who_reads_an_uncompressed_tiff_is_chosen(
    chosen: bool, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", chosen)
    with Image.open(io.BytesIO(saved("TIFF"))) as image:
        assert {tile.codec_name for tile in image.tile} == {decoder}  # type: ignore[attr-defined]


class Counted(io.BytesIO):
    """Notes how much is asked for at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(-1 if size is None else size)
        return super().read(size)


def test_a_jpeg_is_read_in_pieces_of_decodermaxblock() -> None:
    file = Counted(saved("JPEG", quality=100))
    image: Any = Image.open(file)
    image.decodermaxblock = 64
    file.sizes.clear()
    image.load()
    assert len(file.sizes) > 5
    assert set(file.sizes) == {64}


def test_frombytes_decodes_the_content_of_an_idat() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)  # each with filter "none"
    image = Image.new("L", (28, 28))
    image.frombytes(zlib.compress(rows), "zip", "L")
    np.testing.assert_array_equal(np.asarray(image), GREY)
