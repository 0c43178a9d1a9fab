"""Valid requests with bytes changed, removed, inserted or repeated: an answer, or a 4xx."""

import gzip
import http.client
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import RequestError
from service.http.multipart_form import Part, parse_multipart
from service.oip.rest_request import parse_request
from service.preprocessing.pipeline import Mode
from service.rest.predict import read_images
from tests.hostile import gif_bmp_webp, jpeg, png, tiff
from tests.hostile.cases import Headers
from tests.hostile.connection import exchange
from tests.hostile.forms import GOOD as FORM
from tests.hostile.forms import TYPE
from tests.hostile.numbers import HEADER_LENGTH, IMAGE, INFER, asks, binary, of
from tests.service.pictures import FASHION, encode, read_image, save
from tests.service.preprocessing.variants import every_file
from tests.serving import Server
from tests.thorough import examples

MANY = settings(max_examples=examples(300, thorough=1000), derandomize=True)
FEW = settings(max_examples=150, derandomize=True)

# As the service itself has it, where pytest would make errors of them.
pytestmark = pytest.mark.filterwarnings("ignore")

GRADIENT = (np.add.outer(np.arange(40), np.arange(30)) * 3 % 256).astype(np.uint8)  # (H, W)
COLOURED = Image.fromarray(GRADIENT).convert("RGB")
# Kinds that readers of our own decode.
SAMPLED = ("tiff-0-f16-big", "tiff-2-u16-little-extra1", "tiff-1-u12-", "tiff-2-f32-big-predictor3")
SAMPLED += (
    "tiff-1-u16-little-tiles-bigtiff",
    "bmp-11-11-10.bmp",
    "bmp-4444.bmp",
    "png-type2-16bit-",
)

PICTURES = [
    encode(GRADIENT),
    encode(GRADIENT, "PNG", "P"),
    encode(GRADIENT, "PNG", "LA"),
    encode(GRADIENT, "JPEG"),
    save(COLOURED, "JPEG", progressive=True),
    encode(GRADIENT, "WEBP", "RGB", lossless=True),
    encode(GRADIENT, "WEBP", "RGB"),
    encode(GRADIENT, "GIF"),
    encode(GRADIENT, "BMP"),
    encode(GRADIENT, "BMP", "P"),
    encode(GRADIENT, "TIFF"),
    encode(GRADIENT, "TIFF", "F"),
    encode(GRADIENT, "AVIF", "RGB"),
    *(content for name, content in every_file().items() if name.startswith(SAMPLED)),
    *(save(COLOURED, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
    png.frames(3),
    gif_bmp_webp.film("GIF", 3),
    gif_bmp_webp.film("WEBP", 3),
    gif_bmp_webp.bmp_file(b"\x05\x01\0\0\0\2\1\1\0\3abc\0" * 40, compression=1),
    jpeg.with_segments(jpeg.segment(b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0")),
    tiff.pages(3),
]
LONGEST = 4000  # bytes that one change may put in

BINARY, JSON_LENGTH = binary()
REQUESTS: Sequence[tuple[str, bytes, Headers]] = [
    ("/classify", png.GOOD, [("Content-Type", "image/png")]),
    ("/classify", FORM, [("Content-Type", TYPE)]),
    ("/classify_batch", FORM.replace(b'"image"', b'"images"'), [("Content-Type", TYPE)]),
    ("/ui/seen", png.GOOD, [("Content-Type", "image/png")]),
    ("/predict", of([IMAGE]), [("Content-Type", "application/json")]),
    (INFER, asks(), [("Content-Type", "application/json")]),
    (INFER, BINARY, [(HEADER_LENGTH, str(JSON_LENGTH))]),
    (INFER, gzip.compress(asks()), [("Content-Encoding", "gzip")]),
]


@st.composite
def mutated(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """One of the good ones with up to five changes."""
    content = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        change = draw(st.sampled_from(["flip", "put", "number", "cut", "end", "repeat"]))
        if change == "flip" and content:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif change == "put":
            content[start:end] = draw(st.binary(max_size=20))
        elif change == "number":
            value = draw(st.sampled_from([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            content[start : start + 4] = struct.pack(draw(st.sampled_from(["<I", ">I"])), value)
        elif change == "cut":
            del content[start:end]
        elif change == "end":
            del content[start:]
        else:
            piece = content[start:end]
            content[start:start] = piece * (LONGEST // max(1, len(piece)))
    return bytes(content)


def with_checksums(content: bytes) -> bytes:
    """A PNG with corrected checksums, so that the changes reach the decoder."""
    fixed, place = bytearray(content), 8
    while place + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, place)
        end = place + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def read_or_refused(read: Callable[[], NDArray[np.uint8]]) -> None:
    """Run a reader of images (..., 28, 28); an error must be a 4xx with a text."""
    refusal: RequestError | None = None
    try:
        assert read().shape[-2:] == (28, 28)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert 10 < len(str(refusal)) < 1000


def both_ways(content: bytes) -> None:
    """Read a picture as it is and as a photograph."""
    modes: Sequence[Mode] = ("raw", "photo")
    for mode in modes:
        read_or_refused(partial(read_image, content, 1_000_000, mode))


@MANY
@given(mutated(PICTURES))
def test_a_picture(content: bytes) -> None:
    both_ways(content)


@MANY
@given(mutated([content for content in PICTURES if content.startswith(png.SIGNATURE)]))
def test_a_png_with_right_checksums(content: bytes) -> None:
    both_ways(with_checksums(content))


def only(parts: Sequence[Part]) -> bytes:
    """The content of the first part, or nothing."""
    return parts[0].content if parts else b""


@MANY
@given(
    mutated([FORM, FORM * 2]),
    st.sampled_from([TYPE, TYPE + "x", 'multipart/form-data; boundary="b"']),
)
def test_a_form(content: bytes, kind: str) -> None:
    read_or_refused(lambda: read_image(only(parse_multipart(content, kind)), 10**6))


@MANY
@given(mutated([of([IMAGE]), of([IMAGE, IMAGE])]))
def test_numbers(content: bytes) -> None:
    read_or_refused(lambda: read_images(content, FASHION))


@MANY
@given(mutated([asks(), BINARY]), st.sampled_from([None, str(JSON_LENGTH), "0", "7"]))
def test_an_inference_request(content: bytes, header_length: str | None) -> None:
    read_or_refused(lambda: parse_request(content, header_length, FASHION.shape).images)


@FEW
@given(st.data())
def test_a_whole_request_with_a_changed_body(server: Server, data: st.DataObject) -> None:
    path, body, headers = data.draw(st.sampled_from(REQUESTS))
    content = data.draw(mutated([body]))
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(content)}\r\n\r\n"
    answer = exchange(server.port, [head.encode() + content])
    assert answer.status == 200 or answer.error
    assert answer.status in (200, 400, 413, 415)


@FEW
@given(st.data())
def test_a_whole_request_with_a_changed_head(server: Server, data: st.DataObject) -> None:
    """With an intact end, since the server would wait for more without it."""
    path, body, headers = data.draw(st.sampled_from(REQUESTS))
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
    good = f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close"
    head = data.draw(mutated([good.encode()])).replace(b"\r\n\r\n", b"")
    ending = b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    try:
        answer = exchange(server.port, [head + ending + body])
    except http.client.BadStatusLine:  # the head became one of HTTP/0.9, which has no status
        return
    assert answer.status < 500
    assert answer.status == 200 or answer.error


def test_the_log_has_no_trace_of_them(server: Server) -> None:
    assert "Traceback" not in server.log()
    assert len(server.workers()) == 1
