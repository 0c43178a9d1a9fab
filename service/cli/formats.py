"""The output formats of `classify`: a table for people, CSV, and JSON lines."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import chain

import orjson
from rich.cells import cell_len

from service.inference.results import Classification

UNUSUAL = " (unusual)"  # beside the label of a picture unlike the training set
CONFIDENCE = len("confidence_10")  # width of a column


class Table:
    """Aligned columns: a file's name, then the classes, the most probable first."""

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        """Set the column widths in advance, so that each row can be printed at once."""
        self.file_width = max(cell_len(printable(name)) for name in ("file", *files))
        self.label_width = max(map(len, ("label_10", *labels)))

    def head(self, top_k: int) -> str:
        """Return the header line for `top_k` classes."""
        return self._line("file", _columns(top_k))

    def row(self, file: str, answer: Classification) -> str:
        """Return the line of one file."""
        (label, p), *others = answer["probabilities"].items()
        caution = UNUSUAL if "input" in answer and answer["input"]["unusual"] else ""
        cells = [(label + caution, f"{p:.4f}"), *((label, f"{p:.4f}") for label, p in others)]
        return self._line(printable(file), cells)

    def _line(self, file: str, cells: Sequence[tuple[str, str]]) -> str:
        widths = [self.label_width + len(UNUSUAL), *[self.label_width] * (len(cells) - 1)]
        columns = zip(cells, widths, strict=True)
        classes = (f"  {label:{width}}  {p:>{CONFIDENCE}}" for (label, p), width in columns)
        return file + " " * (self.file_width - cell_len(file)) + "".join(classes) + "\n"


class CSV:
    """CSV as in RFC 4180, but with Unix line endings."""

    def head(self, top_k: int) -> str:
        """Return the names of the columns for `top_k` classes."""
        return _csv("file", _columns(top_k))

    def row(self, file: str, answer: Classification) -> str:
        """Return the record of one file."""
        return _csv(file, answer["probabilities"].items())


class JSONLines:
    """One object per line, as `POST /classify` answers, with the file's name added."""

    def head(self, top_k: int) -> str:
        """Return an empty string: JSON lines have no header."""
        return ""

    def row(self, file: str, answer: Classification) -> str:
        """Return the line of one file."""
        name = file.encode("utf-8", "backslashreplace").decode()  # it may not be Unicode
        return orjson.dumps({"file": name, **answer}).decode() + "\n"


OutputFormat = Table | CSV | JSONLines


def printable(text: str) -> str:
    """Return the text with unprintable characters and terminal control codes escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _columns(top_k: int) -> list[tuple[str, str]]:
    more = [(f"label_{k}", f"confidence_{k}") for k in range(2, top_k + 1)]
    return [("label", "confidence"), *more]


def _csv(file: str, classes: Iterable[tuple[str, object]]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow((file, *chain.from_iterable(classes)))
    return line.getvalue()
