"""The fast parser of plain forms: the library's result, or none."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RequestError
from service.http.multipart_form import parse_multipart
from service.http.single_part_form import read_plain_form

BOUNDARY = "a-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
NASTY = st.sampled_from(
    [b"\r\n", b"\n", b"--", b"\r\n--", b"--a-boundary", b"\r\n--a-boundary", b"\r\n--a-boundary--"]
)
CONTENTS = st.lists(st.binary(max_size=20) | NASTY, max_size=5).map(b"".join)
DISPOSITIONS = st.sampled_from(
    [
        b'Content-Disposition: form-data; name="image"',
        b'Content-Disposition: form-data; name="image"; filename="a b.png"',
        b'content-disposition: form-data; name="image"; filename=""',
        b'CONTENT-DISPOSITION: FORM-DATA; NAME="image"; FILENAME="a"',
        b'Content-Disposition: form-data; filename="a"; name="image"',
        b'Content-Disposition: form-data; name="images"; filename="a"',
        b'Content-Disposition: form-data; name="image"; filename="a\\"b"',
        b"Content-Disposition: form-data; name=image",
        b"Content-Disposition: attachment",
        b"",
    ]
)
TYPES = st.sampled_from([b"", b"\r\nContent-Type: image/png", b"\r\nContent-Type: text/plain; a=b"])
HEADS = st.tuples(DISPOSITIONS, TYPES).map(b"".join)
ENDS = st.sampled_from([b"--", b"--\r\n", b"--\r\nan epilogue", b"", b"-", b"\r\n", b"--\n"])


def only_image(body: bytes, content_type: str) -> bytes | None:
    """The library's result, if the form has one part and that is an image."""
    try:
        parts = parse_multipart(body, content_type)
    except RequestError:
        return None
    images = [part.content for part in parts]
    return images[0] if [part.name for part in parts] == ["image"] else None


@given(CONTENTS)
def test_the_form_of_a_usual_client_is_read(content: bytes) -> None:
    files = {"image": ("a picture.png", content, "image/png")}
    request = httpx.Request("POST", "http://localhost/", files=files)
    found = read_plain_form(request.read(), request.headers["Content-Type"], "image")
    assert found == content


@given(
    st.lists(st.tuples(HEADS, CONTENTS), max_size=2), ENDS, st.sampled_from([b"", b"\r\n", b"x"])
)
def test_any_form_gives_what_the_library_gives_or_nothing(
    parts: list[tuple[bytes, bytes]], end: bytes, before: bytes
) -> None:
    body = before + b"".join(
        b"--a-boundary\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts
    )
    body += b"--a-boundary" + end
    found = read_plain_form(body, TYPE, "image")
    assert found is None or found == only_image(body, TYPE)


@given(st.data())
def test_a_damaged_form_gives_what_the_library_gives_or_nothing(data: st.DataObject) -> None:
    body = bytearray(
        b'--a-boundary\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n0123456789\r\n--a-boundary--\r\n"
    )
    assert read_plain_form(bytes(body), TYPE, "image") == b"0123456789"
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(CONTENTS | st.just(b'"'))
    found = read_plain_form(bytes(body), TYPE, "image")
    assert found is None or found == only_image(bytes(body), TYPE)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f'multipart/form-data; boundary="{BOUNDARY}"',
        f"multipart/form-data; charset=utf-8; boundary={BOUNDARY}",
        f"multipart/form-data; boundary={'a' * 71}",
        f"multipart/form-data; boundary={BOUNDARY}\n",
        "image/png",
    ],
)
def test_an_unusual_content_type_is_left_to_the_library(content_type: str) -> None:
    body = (
        b'--a-boundary\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--a-boundary--'
    )
    assert read_plain_form(body, TYPE, "image") == b"x"
    assert read_plain_form(body, content_type, "image") is None
