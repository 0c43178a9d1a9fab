"""Forms that are broken, repeated, huge or never end (RFC 7578, RFC 2046)."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

from collections.abc import Sequence
from typing import Any

from tests.hostile.cases import NO_PICTURE, Body, Case
from tests.hostile.png import GOOD as PNG
from tests.hostile.png import header, png

MALFORMED = "the multipart body is malformed"
TYPE = "multipart/form-data; boundary=b"
END = b"--b--\r\n"
PARTS = b'Content-Disposition: form-data; name="image"'


def part(content: bytes = PNG, head: bytes = PARTS) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def form(
    name: str, body: Body, status: int, says: str = "", kind: str = TYPE, path: str = "/classify", **more: Any
) -> Case:
    return Case(name, status, says, body, path=path, headers=[("Content-Type", kind)], **more)


def batch(name: str, body: Body, status: int, says: str = "") -> Case:
    return form(f"batch: {name}", body, status, says, path="/classify_batch")


def named(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"'.encode("latin-1")


GOOD = part() + END

FIELDS = [
    form("a form, whole", GOOD, 200),
    form("a form with no part", END, 400, "its fields: none"),
    form("a form with two pictures", part() * 2 + END, 400, "has 2 fields called 'image'"),
    form("a form with 1,000 pictures", part(b"x") * 1000 + END, 400, "has 1000 fields called 'image'"),
    form("a form with 1,001 pictures", part(b"x") * 1001 + END, 413, "more than 1,000 parts"),
    form("a form with a million parts", lambda: b"--b\r\n\r\n\r\n" * 900_000 + END, 400, "Missing Content-Disposition"),
    form("a form with an empty picture", part(b"") + END, 400, "the image is empty"),
    form("a form with a wrong name", part(head=named("picture")) + END, 400, "its fields: 'picture'"),
    form("a form with a name in capitals", part(head=named("IMAGE")) + END, 400, "its fields: 'IMAGE'"),
    form("a form with a name and a space", part(head=named("image ")) + END, 400, "its fields: 'image '"),
    form("a form with a list of names", part(head=named("image[]")) + END, 400, "'image[]'"),
    form("a form with the batch's name", part(head=named("images")) + END, 400, "its fields: 'images'"),
    form("a form with an empty name", part(head=named("")) + END, 400, "has no name"),
    form("a form with no name", part(head=b"Content-Disposition: form-data") + END, 400, "has no name"),
    form("a form with a name of 4,000 letters", part(head=named("a" * 4000)) + END, 400, "the form has 0 fields called 'image'"),
    form("a form with a name of a million letters", part(head=named("a" * 10**6)) + END, 400, MALFORMED),
    form("a form with a file's name of another folder", part(head=PARTS + b'; filename="../../etc/passwd"') + END, 200),
    form("a form with a file's name that is a command", part(head=PARTS + b'; filename="$(reboot).png"') + END, 200),
    form("a form with a file's name of noise", part(head=PARTS + b'; filename="\xff\xfe\x80"') + END, 200),
    form("a form with two names", part(head=PARTS + b'; name="other"') + END, 400, "the form has 0 fields"),
    form("a form with an attachment", part(head=b'Content-Disposition: attachment; name="image"') + END, 400, MALFORMED),
    form("a form with a picture as a URL", part(b"http://127.0.0.1/a.png") + END, 400, NO_PICTURE),
    form("a form with a picture that is too large", part(png(head=header(60000, 60000))) + END, 413, "3,600,000,000"),
    form("a form with a field that names a file of the server", part(b"@/etc/passwd") + END, 400, NO_PICTURE),
]

PARTS_HEADS = [
    form("a part without a head", b"--b\r\n\r\n" + PNG + b"\r\n" + END, 400, "Missing Content-Disposition"),
    form("a part with a head without a colon", part(head=b"Content-Disposition") + END, 400, MALFORMED),
    form("a part with a head of 1 MB", part(head=PARTS + b"\r\nX: " + b"x" * 10**6) + END, 400, MALFORMED),
    form("a part with 10,000 heads", part(head=PARTS + b"\r\nX: x" * 10_000) + END, 400, MALFORMED),
    form("a part with a folded head", part(head=b'Content-Disposition: form-data;\r\n name="image"') + END, 200),
    form("a part with a zero in its head", part(head=b'Content-Disposition: form-data; name="im\0age"') + END, 400, "its fields: 'im"),
    form("a part with bare line feeds", GOOD.replace(b"\r\n", b"\n"), 400, MALFORMED),
    form("a part whose head never ends", b"--b\r\n" + PARTS, 400, MALFORMED),
    form("a part encoded in base64", part(b"aGVsbG8=", PARTS + b"\r\nContent-Transfer-Encoding: base64") + END, 400, NO_PICTURE),
    form("a part compressed with gzip", part(b"\x1f\x8b\x08" + bytes(40), PARTS + b"\r\nContent-Encoding: gzip") + END, 400, NO_PICTURE),
    form("a part that is a pickle", part(b"\x80\x04}.", PARTS + b"\r\nContent-Type: application/x-pickle") + END, 400, NO_PICTURE),
    form("a part in a charset that is none", part(PNG, PARTS + b"\r\nContent-Type: image/png; charset=\xff") + END, 200),
    form("a part with a name in a charset", part(head=b"Content-Disposition: form-data; name*=utf-7''image") + END, 400, "has no name"),
    form("a part that is a form", part(GOOD.replace(b"--b", b"--c"), PARTS + b"\r\nContent-Type: multipart/mixed; boundary=c") + END, 400, NO_PICTURE),
]

ENDS = [
    *(form(f"a form of its first {keep} bytes", GOOD[:keep], 400, MALFORMED) for keep in (0, 1, 3, 5, 40, len(GOOD) - 9, len(GOOD) - 8, len(GOOD) - 3)),
    form("a form without its end", part(), 400, MALFORMED),
    form("a form with 5 MB and no end", lambda: part(bytes(5 * 10**6)), 400, MALFORMED),
    form("a form with something before it", b"preamble\r\n" + GOOD, 200),
    form("a form with something behind it", GOOD + b"epilogue", 200),
    form("two forms, of which the second is behind the end", GOOD + GOOD, 200),
    form("a form with ten million dashes", lambda: b"-" * 10**7, 400, MALFORMED),
    form("a form with 2 million boundaries", lambda: b"--b\r\n" * 2_000_000, 400, ""),
    form("a form with almost boundaries", lambda: part(b"\r\n--" * 2_000_000) + END, 400, NO_PICTURE),
    form("a form that is JSON", b'{"image": 1}', 400, MALFORMED),
    form("a form that is a picture", PNG, 400, MALFORMED),
    form("a form that is text", b"image=x&a=b", 400, MALFORMED),
    form("a form of zeros", bytes(1000), 400, MALFORMED),
]

BOUNDARIES: Sequence[Case] = [
    form("no boundary", GOOD, 400, "has no boundary", "multipart/form-data"),
    form("an empty boundary", GOOD, 400, "has no boundary", "multipart/form-data; boundary="),
    form("an empty boundary in quotes", GOOD, 400, "has no boundary", 'multipart/form-data; boundary=""'),
    form("a boundary without a value", GOOD, 400, "has no boundary", "multipart/form-data; boundary"),
    form("another boundary than the body's", GOOD, 400, MALFORMED, "multipart/form-data; boundary=c"),
    form("a boundary of 71 letters", GOOD, 400, "71 characters, expected at most 70", f"multipart/form-data; boundary={'b' * 71}"),
    form("a boundary of 10,000 letters", GOOD, 400, "10,000 characters, expected at most 70", f"multipart/form-data; boundary={'b' * 10_000}"),
    form("a boundary in quotes that never end", GOOD, 400, "", 'multipart/form-data; boundary="b'),
    form("a boundary of dashes", b"--" + b"-" * 70 + b"\r\n", 400, MALFORMED, f"multipart/form-data; boundary={'-' * 70}"),
    form("a boundary of noise", GOOD, 400, "", "multipart/form-data; boundary=\xff\xfe"),
    form("a boundary that is a pattern", GOOD, 400, "has no boundary", "multipart/form-data; boundary=(.*)*$"),
    form("a boundary with a charset", GOOD, 400, "", "multipart/form-data; boundary*=utf-7''b"),
    form("two boundaries, of which the last counts", GOOD, 200, "", "multipart/form-data; boundary=c; boundary=b"),
    form("a type with 3,000 parameters", GOOD, 400, "has no boundary", "multipart/form-data" + "; a=b" * 3000),
]

BATCHES = [
    batch("one good, one broken", part(head=named("images")) + part(b"x", named("images")) + END, 400, "images[1] '': the image (1 bytes) is no"),
    batch("one too large", part(png(head=header(60000, 60000)), named("images")) + END, 413, "images[0]"),
    batch("together too large", part(png(head=header(8000, 5000)), named("images")) * 2 + END, 413, "80,000,000 pixels together"),
    batch("the name of one", GOOD, 400, "no field called 'images'"),
    batch("no part", END, 400, "its fields: none"),
    batch("1,001 pictures", part(PNG, named("images")) * 1001 + END, 413, "more than 1,000 parts"),
    batch("a file's name of 5,000 letters", part(b"x", named("images") + b'; filename="' + b"a" * 3000 + b'"') + END, 400, "images[0]"),
    batch("a file's name of line breaks", part(b"x", named("images") + b'; filename="a%0d%0ab"') + END, 400, "images[0]"),
    Case("batch: a picture and no form", 415, "is not served here", PNG, path="/classify_batch", headers=[("Content-Type", "image/png")]),
    Case("batch: JSON", 415, "is not served here", b"[]", path="/classify_batch", headers=[("Content-Type", "application/json")]),
]

CASES: list[Case] = [*FIELDS, *PARTS_HEADS, *ENDS, *BOUNDARIES, *BATCHES]
