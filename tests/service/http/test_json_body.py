"""JSON is read as by orjson, unless it consists mostly of lists and objects."""

import asyncio
import tracemalloc
from threading import Event
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.http.json_body import SHORT_BYTES, read_in_thread, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(VALUES, st.binary(max_size=5))
def test_what_was_written_is_read(value: Any, behind: bytes) -> None:
    text = orjson.dumps(value)
    assert read_json(text) == value
    assert read_json(text + behind, len(text)) == value


@pytest.mark.parametrize("text", [b"", b"[", b"[1,]", b"NaN", b"\xff", b"{} {}"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="the body is not JSON: "):
        read_json(text)


@pytest.mark.parametrize("images", [1, 2000])
def test_images_are_never_too_many_lists(images: int) -> None:
    content = [[[[0] * 28] * 28]] * images
    assert read_json(orjson.dumps(content)) == content


@pytest.mark.parametrize("empty", [b"[]", b"{}"])
def test_lists_and_objects_alone_are_refused(empty: bytes) -> None:
    text = b"[" + b",".join([empty] * 40_000) + b"]"
    with pytest.raises(InvalidInput) as caught:
        read_json(text)
    assert str(caught.value) == (
        "the body has 40,001 brackets that open a list or object, expected at most 13,000 in "
        "120,001 bytes"
    )
    assert read_json(b"1" + text, 1) == 1


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b'"a"', "the body has 200,000 quotation marks, expected at most 10,000"),
        (b'"a":1', "the body has 200,000 quotation marks, expected at most 10,000"),
        (b"0.5", "the body has 100,000 points, expected at most 10,000"),
        (b"1e5", "the body has 100,000 letters e, expected at most 10,000"),
        (b"1E5", "the body has 100,000 letters E, expected at most 10,000"),
        (b"true", "the body has 100,000 letters e, expected at most 10,000"),
    ],
)
def test_values_that_no_image_has_are_counted_before_they_are_made(
    value: bytes, fault: str
) -> None:
    text = b"[" + b",".join([value] * 100_000) + b"]"
    tracemalloc.start()
    with pytest.raises(InvalidInput) as caught:
        read_json(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(caught.value) == fault
    assert peak < 100_000  # bytes; the list alone would take 800,000


def test_a_short_body_does_not_wait_for_a_long_one() -> None:
    async def run() -> None:
        released = Event()
        long = asyncio.ensure_future(
            read_in_thread(lambda body: released.wait(), bytes(SHORT_BYTES + 1))
        )
        await asyncio.sleep(0)
        assert await read_in_thread(len, bytes(SHORT_BYTES)) == SHORT_BYTES
        assert not long.done()
        released.set()
        assert await long

    asyncio.run(run())
