"""A Parquet file with a column of pictures: `FILE#ROW`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.arrow import pyarrow
from service.errors import InputError
from service.model import SIDE
from service.picture_contents import LONGEST, too_long
from service.picture_files import Skipped
from service.shards import Block, Held, Pictures, Span, Unread, shown

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET = b"PAR1"  # Apache Parquet, "File Format"
SPAN_ROWS = 64
IMAGE_BYTES = SIDE * SIDE
NOTHING = "there is nothing in the row"


@dataclass(frozen=True)
class Parquet:
    """The pictures of one column.

    They are files, as bytes or, as Hugging Face's data sets have them, as a struct with bytes; or
    784 numbers from 0 to 255, what the network sees.
    """

    path: str
    column: str | None = None  # None for the only one that can be it

    def spans(self, skipped: Skipped) -> Iterator[Span]:
        """Read them in order, or to where the file is broken; of rows none is passed over.

        Raises:
            InputError: there is no such column, or pyarrow is missing.
        """
        pa = pyarrow()
        row = 0
        try:
            with pa.parquet.ParquetFile(self.path) as file:
                column = self._column(file.schema_arrow)
                for batch in file.iter_batches(SPAN_ROWS, columns=[column]):
                    names = [shown(f"{self.path}#{row + n}") for n in range(len(batch))]
                    yield Held(Block(names, _pictures(batch.column(0))))
                    row += len(batch)
        except (pa.ArrowException, OSError) as error:
            yield Unread(self.path, f"the file is broken behind {row:,} rows: {error}")

    def _column(self, schema: "pa.Schema") -> str:
        can_be: list[str] = [field.name for field in schema if _can_be(field.type)]
        if self.column in can_be or (self.column is None and len(can_be) == 1):
            return self.column or can_be[0]
        kinds = "bytes, structs with bytes, or lists of 784 whole numbers"
        if self.column is None:
            raise InputError(
                f"{shown(self.path)} has {len(can_be)} columns that can be pictures "
                f"({', '.join(can_be) or f'{kinds} would be'}): name one with --column"
            )
        raise InputError(
            f"{shown(self.path)} has no column {self.column!r} of {kinds}; those that can be "
            f"pictures: {', '.join(can_be) or 'none'}"
        )


def _can_be(kind: "pa.DataType") -> bool:
    pa = pyarrow()
    types = pa.types
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return _is_bytes(kind) or (is_list and types.is_integer(kind.value_type))


def _is_bytes(kind: "pa.DataType") -> bool:
    types = pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _pictures(column: "pa.Array") -> Pictures:
    rows = column.to_pylist()
    if pyarrow().types.is_struct(column.type):
        rows = [row and row["bytes"] for row in rows]
    elif not _is_bytes(column.type):
        return _images(rows)
    return [_file(row) for row in rows]


def _file(content: bytes | None) -> bytes | str:
    if content is None:
        return NOTHING
    return content if len(content) <= LONGEST else too_long("the row", f"{len(content):,}")


def _images(rows: Sequence[Sequence[int | None] | None]) -> Pictures:
    """Return images (N, 1, 28, 28), or each row's image (28, 28) or fault where one has a fault."""
    faults = [_fault(row) for row in rows]
    if not any(faults):
        return np.array(rows, np.uint8).reshape(len(rows), 1, SIDE, SIDE)  # (N, 1, 28, 28)
    return [
        fault or np.array(row, np.uint8).reshape(SIDE, SIDE)  # (28, 28)
        for fault, row in zip(faults, rows, strict=True)
    ]


def _fault(row: Sequence[int | None] | None) -> str:
    if row is None:
        return NOTHING
    if len(row) != IMAGE_BYTES:
        return f"the row has {len(row):,} numbers, {IMAGE_BYTES} are right"
    wrong = [value for value in row if value is None or not 0 <= value <= 255]
    return f"the row holds {wrong[0]}, whole numbers from 0 to 255 are right" if wrong else ""
