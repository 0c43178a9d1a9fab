"""A process that reads Parquet files for another one, in memory that no file can enlarge.

A few bytes of Parquet can stand for gigabytes: a page that packs well, a number that is repeated
300 million times, a picture whose place in a dictionary 10,000 rows have. pyarrow takes what it
needs at once, and nothing tells before how much that is; so it does it here, where the system says
no. What ends pyarrow ends no more than this process.
"""

import os
import pickle
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from service.errors import InputError
from service.offline.inputs.parquet_columns import SPAN_BYTES, Column, choose_column, files, images
from service.offline.inputs.types import ImageBatch, display_name
from service.offline.optional_pyarrow import pyarrow

MEMORY = 2**30  # bytes, beyond what the process has as it starts
TOO_MUCH = f"what comes next takes more than {MEMORY:,} bytes of memory"
SECONDS = 60  # of a processor, for what comes next
SPAN_ROWS = 1024
AT_ONCE = 2**20  # bytes that are read of the file
IN_DICTIONARY = 128 * 2**20  # bytes of a row group that is read with its dictionary
NUMBER_BYTES = 4  # of Parquet's INT32


def serve(path: str, column: str | None, answers: Connection) -> None:
    """Read a file.

    Args:
        path: of the file.
        column: its name; None for the only one that can be pictures.
        answers: takes some times a number of pictures and then a pickled Block; and at last the
            reason why there are no more, empty at the file's end, or an InputError.
    """
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve more than they need
    end: str | InputError = ""
    with suppress(OSError):  # nobody waits for an answer any more
        try:
            pyarrow()
            _limit_memory()
            _limit_time()
            for block in _blocks(path, column):
                _limit_time()
                content = pickle.dumps(block)
                answers.send(len(block.names))
                answers.send_bytes(content)
        except InputError as error:
            end = error
        except MemoryError:
            end = TOO_MUCH
        except Exception as error:  # on a broken file pyarrow raises all kinds
            end = str(error) or type(error).__name__
        answers.send(end)


def _limit_memory() -> None:
    """Bound the process's memory, and have it end quietly: pyarrow may abort on a broken file."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)
    _lower(resource.RLIMIT_CORE, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _limit_time() -> None:
    """Have the system end the process if what comes next takes too long, as a loop without end."""
    _lower(resource.RLIMIT_CPU, int(time.process_time()) + SECONDS)


def _lower(kind: int, limit: int) -> None:
    """Set a limit, unless there is a lower one for good."""
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, hard))


def _blocks(path: str, name: str | None) -> Iterator[ImageBatch]:
    """Read the pictures of a column, some at a time.

    Raises:
        InputError: there is no such column.
        ValueError: the file has fewer rows than it says.
    """
    row = 0
    with _opened(path, []) as file:
        column = choose_column(path, file.schema_arrow, name)
        with _opened(path, [column.path] if column.of_files else []) as with_dictionary:
            for group in range(file.num_row_groups):
                cost = _cost(file.metadata.row_group(group), column)
                one = with_dictionary if cost.size <= IN_DICTIONARY else file
                for batch in one.iter_batches(cost.rows, [group], [column.path], use_threads=False):
                    array = batch.column(column.name)
                    for pictures in files(array) if column.of_files else [images(array)]:
                        end = row + len(pictures)
                        yield ImageBatch(
                            [display_name(f"{path}#{n}") for n in range(row, end)], pictures
                        )
                        row = end
        if row != file.metadata.num_rows:
            raise ValueError(f"its footer speaks of {file.metadata.num_rows:,} rows")


@contextmanager
def _opened(path: str, read_dictionary: Sequence[str]) -> Iterator[Any]:
    pa = pyarrow()
    # Given a path, pyarrow would take ~ for a home, and only Unicode.
    with (
        pa.OSFile(os.fsencode(path)) as source,
        pa.parquet.ParquetFile(
            source,
            read_dictionary=read_dictionary,
            buffer_size=AT_ONCE,
            pre_buffer=False,  # it would hold a row group
            page_checksum_verification=True,
        ) as file,
    ):
        yield file


class _Cost(NamedTuple):
    """What a column takes in a row group, if its metadata are right."""

    size: int  # bytes
    rows: int  # to be read at once


def _cost(group: Any, column: Column) -> _Cost:
    size = 0
    for index in range(group.num_columns):
        chunk = group.column(index)
        if f"{chunk.path_in_schema}.".startswith(f"{column.path}."):
            size += max(chunk.total_uncompressed_size, NUMBER_BYTES * chunk.num_values)
    return _Cost(size, max(1, min(SPAN_ROWS, SPAN_BYTES * group.num_rows // max(1, size))))
