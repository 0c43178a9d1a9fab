"""Compressed bodies are inflated exactly, never beyond the limit, and every error is named."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput, PlainOnly, TooLarge, UnsupportedEncoding
from service.http.content_encoding import inflate, is_compressed, refuse_compressed

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    " GZip ": gzip.compress,
    "deflate": zlib.compress,
}
CODINGS = pytest.mark.parametrize("encoding", COMPRESS)


@given(st.sampled_from(list(COMPRESS)), st.binary(max_size=1000))
def test_what_was_compressed_comes_out(encoding: str, content: bytes) -> None:
    assert is_compressed(encoding)
    assert inflate(COMPRESS[encoding](content), encoding, 1000) == content


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_no_encoding_is_none(encoding: str) -> None:
    assert not is_compressed(encoding)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "x" * 1000])
def test_another_encoding_is_refused_with_those_that_are_served(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding) as caught:
        is_compressed(encoding)
    assert str(caught.value) == (
        f"Content-Encoding {encoding[:60]!r} is not served: send gzip, deflate, or neither"
    )
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}


@CODINGS
def test_the_limit_is_of_what_is_inside(encoding: str) -> None:
    body = COMPRESS[encoding](bytes(1000))
    assert inflate(body, encoding, 1000) == bytes(1000)
    with pytest.raises(TooLarge, match="the body inflates to more than 999 bytes, the limit"):
        inflate(body, encoding, 999)


@CODINGS
def test_a_bomb_is_not_inflated_beyond_the_limit(encoding: str) -> None:
    body = COMPRESS[encoding](bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        inflate(body, encoding, 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@CODINGS
@pytest.mark.parametrize("keep", [0, 1, 5, -1])
def test_a_body_cut_off_is_refused(encoding: str, keep: int) -> None:
    with pytest.raises(InvalidInput, match="cut off: its end is missing"):
        inflate(COMPRESS[encoding](b"images" * 100)[:keep], encoding, 1000)


@CODINGS
def test_bytes_behind_the_stream_are_refused(encoding: str) -> None:
    with pytest.raises(InvalidInput, match="3 bytes follow the end of the"):
        inflate(COMPRESS[encoding](b"images") + b"abc", encoding, 1000)


@CODINGS
def test_what_is_not_compressed_is_refused(encoding: str) -> None:
    coding = encoding.strip().lower()
    with pytest.raises(InvalidInput, match=f"the body is not what Content-Encoding {coding} says"):
        inflate(b'{"inputs": []}', encoding, 1000)


@CODINGS
def test_a_wrong_checksum_is_refused(encoding: str) -> None:
    body = bytearray(COMPRESS[encoding](b"images" * 100))
    body[-5 if "gz" in encoding.lower() else -1] ^= 1
    with pytest.raises(InvalidInput, match="incorrect data check"):
        inflate(bytes(body), encoding, 1000)


def test_gzip_is_not_taken_for_deflate() -> None:
    with pytest.raises(InvalidInput):
        inflate(gzip.compress(b"images"), "deflate", 1000)
    with pytest.raises(InvalidInput):
        inflate(zlib.compress(b"images"), "gzip", 1000)


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_where_none_is_served_a_plain_body_is_taken(encoding: str) -> None:
    refuse_compressed(encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x" * 1000])
def test_where_none_is_served_every_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(PlainOnly) as caught:
        refuse_compressed(encoding)
    assert str(caught.value) == (
        f"Content-Encoding {encoding[:60]!r} is not served here: send the body as it is"
    )
    assert caught.value.headers == {"Accept-Encoding": "identity"}
