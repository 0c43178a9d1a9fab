"""How answers are listed: as a table for people, as CSV, or as JSON lines."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import chain

import orjson
from rich.cells import cell_len

from service.inference.results import Classification


class Table:
    """Aligned columns: a file's name, then the classes, the most probable first."""

    def __init__(self, files: Sequence[str], labels: Sequence[str]) -> None:
        """Measure what will be listed, so that a row need not wait for the next."""
        self.file_width = max(cell_len(printable(name)) for name in ("file", *files))
        self.label_width = max(map(len, ("label_10", *labels)))

    def head(self, top_k: int) -> str:
        """Return the line above the rows, for that many classes."""
        return self._line("file", _columns(top_k))

    def row(self, file: str, answer: Classification) -> str:
        """Return the line of one file."""
        return self._line(
            printable(file), [(label, f"{p:.4f}") for label, p in answer["probabilities"].items()]
        )

    def _line(self, file: str, cells: Sequence[tuple[str, str]]) -> str:
        classes = (f"  {label:{self.label_width}}  {p:>10}" for label, p in cells)
        return file + " " * (self.file_width - cell_len(file)) + "".join(classes) + "\n"


class CSV:
    """RFC 4180, with lines that end as on Unix."""

    def head(self, top_k: int) -> str:
        """Return the names of the columns, for that many classes."""
        return _csv("file", _columns(top_k))

    def row(self, file: str, answer: Classification) -> str:
        """Return the record of one file."""
        return _csv(file, answer["probabilities"].items())


class JSONLines:
    """The objects that `POST /classify` answers with, each on a line, and the file's name."""

    def head(self, top_k: int) -> str:
        """Return what stands before the rows: nothing."""
        return ""

    def row(self, file: str, answer: Classification) -> str:
        """Return the line of one file."""
        name = file.encode("utf-8", "backslashreplace").decode()  # it may be no Unicode
        return orjson.dumps({"file": name, **answer}).decode() + "\n"


OutputFormat = Table | CSV | JSONLines


def printable(text: str) -> str:
    """Escape what would not show, or would command a terminal."""
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
