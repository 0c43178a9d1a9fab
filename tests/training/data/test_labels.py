"""Class names are read correctly, from any system's text files."""

import codecs
from pathlib import Path

import pytest

from training.data.labels import label_fault, read_labels
from training.errors import DatasetError

TEXT = "zero\none\nZwölf\n"
NAMES = ("zero", "one", "Zwölf")


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        codecs.BOM_UTF16_LE + TEXT.replace("\n", "\r\n").encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        TEXT.strip().encode(),
        b"\n\n zero \n\n\tone\t\nZw\xc3\xb6lf\xc2\xa0\n\n",
        "zero\none\nZwo\N{COMBINING DIAERESIS}lf".encode(),
    ],
)
def test_what_editors_write_around_the_names_is_no_part_of_them(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    assert read_labels(path) == NAMES


def test_names_of_any_script_come_back_as_they_are(tmp_path: Path) -> None:
    names = ("T-shirt/top", "靴", "क्\u200dष", "👩\u200d👧", "a b", "ﬁ", "$x$")
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    assert read_labels(path) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels.txt names 0 classes: put two or more"),
        (codecs.BOM_UTF8, "labels.txt names 0 classes"),
        (codecs.BOM_UTF16_LE, "labels.txt names 0 classes"),
        (b"only\n", "labels.txt names 1 classes: put two or more"),
        (b"a\nb\n\na \n", "labels.txt, line 4: 'a' is the name in line 1 already"),
        ("é\ne\u0301".encode(), "labels.txt, line 2: 'é' is the name in line 1 already"),
        (b"a\r\nb\r\nZw\xf6lf\r\n", "labels.txt, line 3: byte 0xf6 is not UTF-8: save the file as"),
        (b"a\rb\r\xfc", "labels.txt, line 3: byte 0xfc is not UTF-8"),
        (
            codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le") + b"c",
            "line 2: byte 0x63 is not UTF-16",
        ),
        ("a\nb".encode("utf-16-le"), r"line 1: 'a\x00' has U+0000 in it, which does not show"),
        (b"a\n0\tb", r"labels.txt, line 2: '0\tb' has U+0009 in it"),
        (b"a\nb\x0bc", r"labels.txt, line 2: 'b\x0bc' has U+000B in it"),
        ("a\nb\u2028c".encode(), "line 2: 'b\\u2028c' has U+2028 in it"),
        ("a\nb\x85c".encode(), r"line 2: 'b\x85c' has U+0085 in it"),
        ("a\nb\n\ufeffc".encode(), "line 3: '\\ufeffc' has U+FEFF in it"),
        ("a\nb\u202ec".encode(), "line 2: 'b\\u202ec' has U+202E in it"),
    ],
)
def test_bad_names_are_refused_with_their_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_labels(path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["absent", ".", "x" * 300])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"cannot read the labels in .*--labels"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (["a", "b"], None),
        (["a", " "], "class 1 has an empty name"),
        (["a", "b\x1b[2J"], r"class 1's name 'b\x1b[2J' has U+001B in it"),
        (["a", "\ud800"], "has U+D800 in it"),
        (["b", "a", "b"], "classes 0 and 2 are both called 'b'"),
    ],
)
def test_names_from_elsewhere_are_held_to_the_same(labels: list[str], fault: str | None) -> None:
    found = label_fault(labels)
    assert found == fault or (fault is not None and found is not None and fault in found)
