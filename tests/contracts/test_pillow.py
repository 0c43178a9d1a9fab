"""Pillow: which decoder reads a file, in which pieces, and its decoder of raw deflate.

Stood on by `service.preprocessing.pipeline`, `service.preprocessing.plain_png` and
`service.decoder_pool.process`.
"""

import io
import subprocess
import sys
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
    """Records how many bytes are requested at a time."""

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


def test_a_webp_needs_its_decoder_no_more_once_a_frame_is_there() -> None:
    """It holds two canvases of 4 bytes a pixel."""
    image: Any = Image.open(io.BytesIO(saved("WEBP", lossless=True)))
    get_next = image._get_next

    def without_decoder() -> Any:
        frame = get_next()
        assert len(frame[0]) == 4 * GREY.size
        image._decoder = None
        return frame

    image._get_next = without_decoder
    np.testing.assert_array_equal(np.asarray(image.convert("L")), GREY)


WITHOUT_MEMORY = """
import ctypes, errno, io, resource
from PIL import Image

file = io.BytesIO()
Image.new("RGBA", (4000, 4000)).save(file, "WEBP", lossless=True)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 100 * 2**20, -1))
number = ctypes.CDLL(None).__errno_location
number.restype = ctypes.POINTER(ctypes.c_int)
number().contents.value = 0
try:
    Image.open(file).load()
except Exception as error:
    print(type(error).__name__, number().contents.value == errno.ENOMEM)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no limit is set")
def test_a_library_that_gets_no_memory_leaves_that_in_errno() -> None:
    """Pillow itself says then that the file is broken."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "OSError True\n"


def test_frombuffers_image_writes_into_its_buffer() -> None:
    pixels = bytearray(784)
    image = Image.frombuffer("L", (28, 28), pixels, "raw", "L", 0, 1)
    image.frombytes(zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY)), "zip", "L")
    assert pixels == GREY.tobytes()
