"""All texts follow the table of formats, so that a new format is a line in it."""

import re

import pytest

from service.offline.inputs.image_files import reason_to_skip
from service.preprocessing.formats import FORMATS, MEDIA_TYPES, SERVED, SUFFIXES, format_of
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
    """In a program, that is: what is said of formats would else go wrong with the next one."""
    names = re.compile(r"PNG, JPEG, WebP|image/png, ?image/jpeg, ?image/")
    files = [*(ROOT / "service").rglob("*.*"), *(ROOT / "tests").rglob("*.py")]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix in (".py", ".html", ".js") and names.search(path.read_text())
    ]
    assert found == ["tests/service/preprocessing/test_formats.py"]
    assert len(FORMATS) == len(MEDIA_TYPES)
