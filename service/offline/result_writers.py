"""Write the rows of a large input to a JSON lines file or to a folder of Parquet files.

Both can resume after the program was stopped in any way: complete rows are counted, incomplete
ones are removed.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson

from service.errors import InputError
from service.offline.classify_chunk import EncodedRows, RowEncoder
from service.offline.optional_pyarrow import pyarrow
from service.offline.row_formats import ArrowEncoder, JSONLinesEncoder, arrow_schema
from service.runtime.onnx_model import OnnxModel

DICTIONARY_COLUMNS = [
    "label",
    "mode",
    "hint",
    "error",
]  # columns that dictionary encoding makes small
PART_ROWS, PART_SECONDS = 65_536, 30.0
LINES_AT_ONCE = 2**20  # bytes
JSON_SUFFIXES, PARQUET_SUFFIX = (".jsonl", ".ndjson"), ".parquet"


class Results(Protocol):
    """A writer that takes rows in order."""

    rows: int  # rows in the results, old and new
    last: str | None  # the name in the last row

    @property
    def encoder(self) -> RowEncoder:
        """The row encoder that this writer needs."""

    def write(self, encoded: EncodedRows) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write all rows to disk, so that a crash cannot lose them."""


def open_results(path: Path, model: OnnxModel, top_k: int | None) -> Callable[[], Results]:
    """Return a function that opens the results at a path, to append to existing rows.

    The suffix of the path sets the format. The function raises OSError if it cannot write there.

    Raises:
        InputError: the suffix is unknown, or pyarrow is missing.
    """
    if path.suffix in JSON_SUFFIXES:
        return partial(JSONLinesFile, path, JSONLinesEncoder(top_k))
    if path.suffix != PARQUET_SUFFIX:
        suffixes = ", ".join((*JSON_SUFFIXES, PARQUET_SUFFIX))
        raise InputError(f"--out {path}: the name must end with one of {suffixes}")
    if top_k is not None:
        raise InputError("--top-k: Parquet takes the probabilities of all classes")
    return partial(ParquetFolder, path, arrow_schema(model.labels, model.name, model.version))


class JSONLinesFile:
    """A JSON lines file, with one line per row."""

    def __init__(self, path: Path, encoder: JSONLinesEncoder) -> None:
        """Open the file, and truncate it after its last complete line.

        Raises:
            InputError: the last complete line is not a row.
        """
        self.encoder = encoder
        self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b")
        self.rows, start, end = _whole_lines(self._file)
        self._file.seek(start)
        try:
            self.last = _name_in(path, self._file.readline(), self.rows) if self.rows else None
        except InputError:
            self._file.close()
            raise
        self._file.truncate(end)
        self._file.seek(end)

    def write(self, encoded: EncodedRows) -> None:
        """Append lines."""
        self._file.write(encoded.content)
        self._file.flush()
        self.rows += encoded.rows

    def close(self) -> None:
        """Write all lines to disk and close the file."""
        os.fsync(self._file.fileno())
        self._file.close()


class ParquetFolder:
    """Files `part-00000.parquet` and so on: one data set for pyarrow, pandas, Polars and Spark.

    A part has 65,536 rows, or the rows of 30 seconds, and appears when it is complete.
    """

    def __init__(self, path: Path, schema: Any) -> None:
        """Open the folder and count the rows of its parts.

        Raises:
            InputError: a part is damaged or missing.
        """
        parquet = pyarrow().parquet
        self.encoder = ArrowEncoder()
        self._path, self._schema, self._parquet = path, schema, parquet
        path.mkdir(exist_ok=True)
        for torn in path.glob("part-*.parquet.tmp"):
            torn.unlink()
        self._parts = 0
        self.rows, self.last = 0, None
        for part in sorted(path.glob("part-*.parquet"), key=lambda part: (len(part.name), part)):
            if part != self._part():
                missing = self._part()
                raise InputError(f"--resume: {missing} is missing: remove the parts after it")
            names = self._names_in(part)
            self.rows += len(names)
            self.last = names[-1]
            self._parts += 1
        self._batches: list[Any] = []
        self._since = time.monotonic()

    def write(self, encoded: EncodedRows) -> None:
        """Buffer rows, and write a part if there are enough."""
        pa = pyarrow()
        self._batches.append(pa.ipc.read_record_batch(pa.py_buffer(encoded.content), self._schema))
        self.rows += encoded.rows
        waiting = sum(map(len, self._batches))
        if waiting >= PART_ROWS or time.monotonic() - self._since > PART_SECONDS:
            self._write_part()

    def close(self) -> None:
        """Write the buffered rows."""
        if self._batches:
            self._write_part()

    def _names_in(self, part: Path) -> list[str]:
        pa = pyarrow()
        try:
            names: list[str] = (
                self._parquet.read_table(part, columns=["file"]).column(0).to_pylist()
            )
        except (pa.ArrowException, OSError) as error:
            raise InputError(_damaged(part, str(error), "it, and the parts after it")) from error
        if not names:
            raise InputError(_damaged(part, "it has no rows", "it, and the parts after it"))
        return names

    def _part(self) -> Path:
        return self._path / f"part-{self._parts:05}.parquet"

    def _write_part(self) -> None:
        pa = pyarrow()
        part = self._part()
        torn = part.with_suffix(".parquet.tmp")
        with torn.open("wb") as file:
            table = pa.Table.from_batches(self._batches)
            self._parquet.write_table(
                table, file, use_dictionary=DICTIONARY_COLUMNS, compression="zstd"
            )
            file.flush()
            os.fsync(file.fileno())
        torn.rename(part)
        self._parts += 1
        self._batches, self._since = [], time.monotonic()


def _whole_lines(file: BinaryIO) -> tuple[int, int, int]:
    """Return the number of complete lines, and the first and end byte of the last one.

    After a power loss there can be NULs in place of lines; what follows them does not count.
    """
    lines = start = end = at = 0
    while content := file.read(LINES_AT_ONCE):
        whole = content.partition(b"\0")[0]
        if lines_here := whole.count(b"\n"):
            lines += lines_here
            last = whole.rindex(b"\n")
            before = whole.rfind(b"\n", 0, last)
            start, end = (at + before + 1 if before >= 0 else end), at + last + 1
        if len(whole) < len(content):
            break
        at += len(content)
    return lines, start, end


def _name_in(path: Path, line: bytes, number: int) -> str:
    try:
        return str(orjson.loads(line)["file"])
    except (ValueError, TypeError, KeyError) as error:
        reason = f"line {number:,} is not a row"
        raise InputError(_damaged(path, reason, f"its lines from {number:,} on")) from error


def _damaged(path: Path, reason: str, what: str) -> str:
    return (
        f"--resume: {path} is damaged, perhaps by a power loss: {reason}: remove {what}, and resume"
    )
