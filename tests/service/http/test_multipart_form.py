"""Forms of any client are read completely, and malformed ones are rejected."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import InvalidInput, TooLarge
from service.http.multipart_form import MAX_PARTS, parse_multipart

BOUNDARY = "----WebKitFormBoundaryAaB03x"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"

# Quotes, backslashes and line ends are escaped by clients, each in its own way.
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\\r\n', exclude_categories=["C"]),
    min_size=1,
)
NASTY = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"--", BOUNDARY.encode()[:-1], b"\r\n--", b"\r\n--" + b"-" * 9, b"\0"]
)
CONTENTS = st.lists(st.binary(max_size=40) | NASTY).map(b"".join)


def form(*parts: tuple[str, bytes], boundary: str = BOUNDARY) -> bytes:
    """A form as browsers write it."""
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="a b.png"\r\n'
        b"Content-Type: image/png\r\n\r\n%b\r\n" % (boundary.encode(), name.encode(), content)
        for name, content in parts
    )
    return body + b"--%b--\r\n" % boundary.encode()


@given(st.lists(st.tuples(NAMES, CONTENTS), min_size=1, max_size=5))
def test_every_part_comes_out_as_it_went_in(parts: list[tuple[str, bytes]]) -> None:
    found = parse_multipart(form(*parts), TYPE)
    assert [(part.name, part.content) for part in found] == parts
    assert {part.filename for part in found} == {"a b.png"}


@given(st.text(st.sampled_from("0123456789abcXYZ'()+_,-./:=?"), min_size=1, max_size=70))
@example("b" * 70)
def test_every_boundary_that_the_rfc_allows_is_taken(boundary: str) -> None:
    body = form(("image", b"\r\nabc\r\n"), boundary=boundary)
    (part,) = parse_multipart(body, f'multipart/form-data; boundary="{boundary}"')
    assert (part.name, part.content) == ("image", b"\r\nabc\r\n")


def test_names_of_headers_have_no_case_and_parameters_any_order() -> None:
    body = (
        b"--b\r\nCONTENT-TYPE: image/png\r\n"
        b'content-disposition: form-data; filename="x"; name=image\r\n\r\nabc\r\n--b--\r\n'
    )
    (part,) = parse_multipart(body, "multipart/form-data; charset=utf-8; boundary=b")
    assert (part.name, part.content) == ("image", b"abc")


def test_what_stands_before_and_after_the_form_is_no_part() -> None:
    body = form(("image", b"abc")) + b"and an epilogue"
    (part,) = parse_multipart(body, TYPE)
    assert part.content == b"abc"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b'name="image"', ""),
        (b'name="image"; filename=""', ""),
        (b'filename="coat.png"; name="image"', "coat.png"),
        ('name="image"; filename="Mäntel \N{COAT}.png"'.encode(), "Mäntel \N{COAT}.png"),
        (b'name="image"; filename="\xff.png"', "\N{REPLACEMENT CHARACTER}.png"),
    ],
)
def test_a_file_has_the_name_that_its_client_gives_it(header: bytes, expected: str) -> None:
    body = b"--b\r\nContent-Disposition: form-data; %b\r\n\r\nabc\r\n--b--\r\n" % header
    (part,) = parse_multipart(body, "multipart/form-data; boundary=b")
    assert part.filename == expected


def test_no_part_has_the_file_name_of_the_one_before() -> None:
    body = form(("image", b"x"))[: -len(f"--{BOUNDARY}--\r\n")]
    body += b'--%b\r\nContent-Disposition: form-data; name="note"\r\n\r\nabc\r\n--%b--\r\n' % (
        (BOUNDARY.encode(),) * 2
    )
    assert [part.filename for part in parse_multipart(body, TYPE)] == ["a b.png", ""]


def test_parts_are_limited() -> None:
    parts = [("image", b"")] * MAX_PARTS
    assert len(parse_multipart(form(*parts), TYPE)) == MAX_PARTS
    with pytest.raises(TooLarge, match="the form has more than 1,000 parts: send several forms"):
        parse_multipart(form(*parts, ("image", b"")), TYPE)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data;"],
)
def test_a_missing_boundary_is_told(content_type: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_multipart(form(("image", b"abc")), content_type)
    assert str(caught.value) == (
        "the Content-Type multipart/form-data has no boundary: let your client set it"
    )


def test_an_overlong_boundary_is_refused() -> None:
    """RFC 2046 limits them to 70; searching for a long one takes time (CVE-2024-9056)."""
    boundary = "b" * 10_000
    with pytest.raises(InvalidInput, match="malformed"):
        parse_multipart(
            form(("image", b"abc"), boundary=boundary), f"multipart/form-data; boundary={boundary}"
        )


def test_another_boundary_than_the_one_named_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the multipart body is malformed"):
        parse_multipart(form(("image", b"abc"), boundary="another"), TYPE)


def test_a_form_cut_off_anywhere_is_refused() -> None:
    whole = form(("other", b"x"), ("image", b"\x89PNG\r\n\x1a\n--"))
    end = len(whole) - len("\r\n")  # which closes no part
    for length in range(end):
        with pytest.raises(InvalidInput, match=r"the multipart body is (malformed|cut off)"):
            parse_multipart(whole[:length], TYPE)
    assert len(parse_multipart(whole[:end], TYPE)) == 2


@pytest.mark.parametrize("header", [b"form-data", b'form-data; name=""', b"form-data; nom=image"])
def test_a_part_without_a_name_is_told(header: bytes) -> None:
    body = b"--b\r\nContent-Disposition: %b\r\n\r\nabc\r\n--b--\r\n" % header
    with pytest.raises(InvalidInput) as caught:
        parse_multipart(body, "multipart/form-data; boundary=b")
    assert str(caught.value) == (
        "a part of the multipart body has no name: "
        'give it Content-Disposition: form-data; name="image"'
    )


@pytest.mark.parametrize("header", [b"Content-Type: image/png", b"X: y"])
def test_a_part_without_its_header_is_told(header: bytes) -> None:
    body = b"--b\r\n%b\r\n\r\nabc\r\n--b--\r\n" % header
    with pytest.raises(InvalidInput, match="malformed: Missing Content-Disposition"):
        parse_multipart(body, "multipart/form-data; boundary=b")


def test_a_part_without_any_header_has_no_name() -> None:
    with pytest.raises(InvalidInput):
        parse_multipart(b"--b\r\n\r\nabc\r\n--b--\r\n", "multipart/form-data; boundary=b")


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_parts_or_refused(body: bytes, framed: bool) -> None:
    parse_or_refuse(b"--b\r\n" + body + b"\r\n--b--" if framed else body, "b")


@given(st.data())
def test_a_damaged_form_is_parts_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(form(("image", b"abc\r\n" * 9), ("other", b"x")))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    parse_or_refuse(bytes(damaged), BOUNDARY)


@given(st.text(st.characters(codec="latin-1"), max_size=60))
def test_any_content_type_is_understood_or_refused(parameters: str) -> None:
    try:
        parse_multipart(form(("image", b"abc")), f"multipart/form-data; {parameters}")
    except InvalidInput as error:
        assert "boundary" in str(error) or "malformed" in str(error)  # noqa: PT017


def parse_or_refuse(body: bytes, boundary: str) -> None:
    try:
        parse_multipart(body, f"multipart/form-data; boundary={boundary}")
    except InvalidInput as error:
        assert "multipart body" in str(error)  # noqa: PT017 - parts are as good an outcome
