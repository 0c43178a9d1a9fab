"""All texts come from the table of formats, so that a new format is a line in it."""

import re

import pytest

from service.errors import InvalidInput
from service.offline.inputs.image_files import reason_to_skip
from service.preprocessing.formats import FORMATS, MEDIA_TYPES, SERVED, SUFFIXES, format_of
from service.preprocessing.opening import open_image
from tests.serving import ROOT


def test_the_names_make_a_sentence() -> None:
    assert SERVED.startswith("PNG, JPEG, WebP, ")
    assert SERVED.endswith(f"{FORMATS[-2].name} or {FORMATS[-1].name}")


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"\x89PNG\r\n", "PNG"), (b"MM\0*....", "TIFF"), (b"RIFF", "WebP"), (b"", None), (b"x", None)],
)
def test_a_file_is_told_by_its_beginning(content: bytes, name: str | None) -> None:
    found = format_of(content)
    assert (found and found.name) == name


def ftyp(*brands: bytes) -> bytes:
    """The first box of an ISO media file: a major brand, a version, and compatible brands."""
    content = brands[0] + bytes(4) + b"".join(brands)
    return (8 + len(content)).to_bytes(4) + b"ftyp" + content + bytes(50)


@pytest.mark.parametrize(
    ("content", "name", "remedy"),
    [
        (
            ftyp(b"heic", b"mif1"),
            "HEIC",
            "an iPhone takes photographs as JPEG with Settings, Camera",
        ),
        (ftyp(b"mif1", b"heic"), "HEIC", "save it as JPEG"),
        (b"\xff\x0a" + bytes(50), "JPEG XL", "save it as JPEG or PNG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "save it as JPEG or PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "save it as JPEG or PNG"),
        (b"%PDF-1.7", "PDF", "save it as JPEG or PNG"),
        (b"P5 28 28 255\n" + bytes(784), "Netpbm", "save it as JPEG or PNG"),
    ],
)
def test_a_known_format_that_is_not_served_is_named(content: bytes, name: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_image(content, 10**6)
    message = str(caught.value)
    assert f"is not a {SERVED} file, but {name}, which is not supported: " in message
    assert remedy in message


def test_avif_is_told_by_any_of_its_brands() -> None:
    for content in (ftyp(b"avif"), ftyp(b"mif1", b"miaf", b"avif"), ftyp(b"avis", b"msf1")):
        found = format_of(content)
        assert found is not None
        assert found.name == "AVIF"
    assert format_of(ftyp(b"mp42", b"isom")) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_told_by_its_suffix(suffix: str) -> None:
    assert reason_to_skip(f"boot{suffix}") is None
    assert reason_to_skip(f"boot{suffix.upper()}") is None


def test_the_documentation_names_every_format() -> None:
    api = (ROOT / "docs" / "api.md").read_text()
    command_line = (ROOT / "docs" / "command_line.md").read_text()
    assert "| " + ", ".join(f"`{one}`" for one in MEDIA_TYPES) + " |" in api
    assert ", ".join(f"`{one}`" for one in SUFFIXES) in re.sub(r"\s+", " ", command_line)


def test_no_text_repeats_the_table() -> None:
    """In code: a text that repeats the table would be wrong with the next format."""
    names = re.compile(r"PNG, JPEG, WebP|image/png, ?image/jpeg, ?image/")
    files = [*(ROOT / "service").rglob("*.*"), *(ROOT / "tests").rglob("*.py")]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix in (".py", ".html", ".js") and names.search(path.read_text())
    ]
    assert found == ["tests/service/preprocessing/test_formats.py"]
    assert len(FORMATS) == len(MEDIA_TYPES)
