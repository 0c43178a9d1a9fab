"""Read Parquet files in a separate process with bounded memory.

A few bytes of Parquet can stand for gigabytes: a page that compresses well, a number that is
repeated 300 million times, an image whose dictionary index is in 10,000 rows. pyarrow allocates
all of it at once, and the size is unknown before; so it runs in this process, where the system
limits the memory. A crash of pyarrow ends only this process.
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
from service.offline.inputs.parquet_columns import CHUNK_BYTES, Column, choose_column, files, images
from service.offline.inputs.types import ImageBatch, display_name
from service.offline.optional_pyarrow import pyarrow
from service.signature import ImageSpec

MEMORY = 2**30  # bytes, beyond the memory of the process at its start
TOO_MUCH = f"the next row takes more than {MEMORY:,} bytes of memory"
MAX_BATCH_CPU_SECONDS = 60  # of processor time for the next batch
CHUNK_ROWS = 1024
AT_ONCE = 2**20  # bytes per read of the file
IN_DICTIONARY = 128 * 2**20  # largest row group, in bytes, that is read with its dictionary
NUMBER_BYTES = 4  # of Parquet's INT32


def serve(path: str, column: str | None, spec: ImageSpec, answers: Connection) -> None:
    """Read a file and send its images to the parent process.

    Args:
        path: path of the file.
        column: name of the image column; None for the only possible one.
        spec: of the model's images.
        answers: receives, for each chunk, the number of images and then a pickled ImageBatch;
            at the end the reason why reading stopped (empty at the end of the file), or an
            InputError.
    """
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve more than they need
    end: str | InputError = ""
    with suppress(OSError):  # the parent has stopped reading
        try:
            pyarrow()
            _limit_memory()
            _limit_time()
            for batch in _batches(path, column, spec):
                _limit_time()
                content = pickle.dumps(batch)
                answers.send(len(batch.names))
                answers.send_bytes(content)
        except InputError as error:
            end = error
        except MemoryError:
            end = TOO_MUCH
        except Exception as error:  # pyarrow raises many types for a broken file
            end = str(error) or type(error).__name__
        answers.send(end)


def _limit_memory() -> None:
    """Limit the memory, and write no core dump or message: pyarrow may abort on a broken file."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)
    _lower(resource.RLIMIT_CORE, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _limit_time() -> None:
    """Let the system end the process if the next batch takes too long, as in an endless loop."""
    _lower(resource.RLIMIT_CPU, int(time.process_time()) + MAX_BATCH_CPU_SECONDS)


def _lower(kind: int, limit: int) -> None:
    """Set a resource limit, unless the hard limit is lower."""
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, hard))


def _batches(path: str, name: str | None, spec: ImageSpec) -> Iterator[ImageBatch]:
    """Yield the images of a column in batches.

    Raises:
        InputError: the column does not exist.
        ValueError: the number of rows is not the one in the footer.
    """
    row = 0
    with _opened(path, []) as file:
        column = choose_column(path, file.schema_arrow, name, spec)
        with _opened(path, [column.path] if column.of_files else []) as with_dictionary:
            for group in range(file.num_row_groups):
                cost = _cost(file.metadata.row_group(group), column)
                one = with_dictionary if cost.size <= IN_DICTIONARY else file
                for batch in one.iter_batches(cost.rows, [group], [column.path], use_threads=False):
                    array = batch.column(column.name)
                    for pictures in files(array) if column.of_files else [images(array, spec)]:
                        end = row + len(pictures)
                        yield ImageBatch(
                            [display_name(f"{path}#{n}") for n in range(row, end)], pictures
                        )
                        row = end
        if row != file.metadata.num_rows:
            raise ValueError(f"its footer states {file.metadata.num_rows:,} rows")


@contextmanager
def _opened(path: str, read_dictionary: Sequence[str]) -> Iterator[Any]:
    pa = pyarrow()
    # For a path, pyarrow would expand ~ and accept only Unicode.
    with (
        pa.OSFile(os.fsencode(path)) as source,
        pa.parquet.ParquetFile(
            source,
            read_dictionary=read_dictionary,
            buffer_size=AT_ONCE,
            pre_buffer=False,  # it would keep a whole row group in memory
            page_checksum_verification=True,
        ) as file,
    ):
        yield file


class _Cost(NamedTuple):
    """The size of a column in a row group, according to the metadata."""

    size: int  # bytes
    rows: int  # rows to read at once


def _cost(group: Any, column: Column) -> _Cost:
    size = 0
    for index in range(group.num_columns):
        chunk = group.column(index)
        if f"{chunk.path_in_schema}.".startswith(f"{column.path}."):
            size += max(chunk.total_uncompressed_size, NUMBER_BYTES * chunk.num_values)
    return _Cost(size, max(1, min(CHUNK_ROWS, CHUNK_BYTES * group.num_rows // max(1, size))))
