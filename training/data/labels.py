"""Read class names from a text file, written with any editor."""

import codecs
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from training.errors import DatasetError

# Marks written by Windows editors; UTF-32's come first, because they begin like UTF-16's.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Control characters, format characters and line separators: they are invisible in a name, and some
# reorder or break the text beside them.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # parts of words, and of emoji


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the class names of a labels file: one per line, class 0 first, blank lines skipped.

    Lines end with LF, CRLF or CR. The text is UTF-8, or UTF-16 or UTF-32 with a byte order mark,
    which is not part of the first name. Names are returned in Unicode's composed form (NFC), so
    that two spellings of one name are equal.

    Raises:
        DatasetError: the file cannot be read, has a duplicate name, fewer than two names, or an
            invisible character.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"cannot read the labels in {path}: {error.strerror}; name a text file with --labels"
        ) from error
    labels: dict[str, int] = {}  # name -> its line
    for number, line in enumerate(_lines(_decode(content, path)), start=1):
        label = unicodedata.normalize("NFC", line.strip())
        if not label:
            continue
        where = f"{path}, line {number}"
        if (unseen := unseen_character(label)) is not None:
            raise DatasetError(
                f"{where}: {label!r} has {unseen} in it, which does not show: take it out"
            )
        if label in labels:
            raise DatasetError(
                f"{where}: {label!r} is the name in line {labels[label]} already: each class "
                "needs its own"
            )
        labels[label] = number
    if len(labels) < 2:
        raise DatasetError(f"{path} names {len(labels)} classes: put two or more, one per line")
    return tuple(labels)


def _decode(content: bytes, path: Path) -> str:
    encoding = "utf-8"
    for mark, marked in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], marked
            break
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        number = len(_lines(content[: error.start].decode(encoding, errors="replace")))
        found = content[error.start : error.start + 1].hex()
        raise DatasetError(
            f"{path}, line {number}: byte 0x{found} is not {encoding.upper()}: save the file as "
            "UTF-8"
        ) from error


def _lines(text: str) -> list[str]:
    """Return the lines, split at line endings only; `splitlines` splits at other separators too."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def unseen_character(label: str) -> str | None:
    """Return the first invisible character of a label, as "U+0000"; None if there is none."""
    for character in label:
        if character not in JOINERS and unicodedata.category(character) in UNSEEN:
            return f"U+{ord(character):04X}"
    return None


def label_fault(labels: Sequence[str]) -> str | None:
    """Return the error in class names that are not from a labels file; None if there is none.

    The rules are those of `read_labels`, except that an empty name is an error.
    """
    for number, label in enumerate(labels):
        if not label.strip():
            return f"class {number} has an empty name"
        if (unseen := unseen_character(label)) is not None:
            return f"class {number}'s name {label!r} has {unseen} in it, which does not show"
        if (first := labels.index(label)) != number:
            return f"classes {first} and {number} are both called {label!r}"
    return None
