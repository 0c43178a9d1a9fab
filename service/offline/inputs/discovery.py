"""The input of `python -m service classify --out`: many pictures, read piece by piece.

An argument of the command line becomes shards: a run of a folder's files, an archive, a file of
the data set's own format, a Parquet file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InputError
from service.offline.inputs.idx import IDX, MAGIC
from service.offline.inputs.image_contents import read_picture
from service.offline.inputs.image_files import Skipped, Unreadable, is_file, is_folder, walk
from service.offline.inputs.parquet import PARQUET, Parquet
from service.offline.inputs.tar import USTAR, USTAR_AT, Tar
from service.offline.inputs.types import (
    READING_FAULTS,
    SPAN_FILES,
    Chunk,
    ImageBatch,
    Shard,
    UnreadableInput,
    display_name,
    open_decompressed,
)

SHARD_FILES = 1024


@dataclass(frozen=True)
class Files:
    """Pictures in files of their own, as a shard and as a span."""

    paths: tuple[str, ...]

    def spans(self, skipped: Skipped) -> Iterator[Chunk]:
        """Read them in order, some at a time; of them nothing is passed over."""
        for start in range(0, len(self), SPAN_FILES):
            yield Files(self.paths[start : start + SPAN_FILES])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def read(self) -> ImageBatch:
        """Return what is in them."""
        return ImageBatch([display_name(path) for path in self.paths], _Contents(self.paths))


class _Contents(Sequence[bytes | str]):
    """What is in files, each read when it is asked for: photographs take megabytes."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        found = self._paths[index]
        return read_picture(found) if isinstance(found, str) else _Contents(found)


def find_shards(
    arguments: Iterable[str], skipped: Skipped, column: str | None = None
) -> Iterator[Shard]:
    """Divide the input, in its order, in memory that does not grow with it.

    Args:
        arguments: folders, which stand for all pictures in them and below; tar archives,
            compressed or not; IDX and Parquet files; anything else is a picture.
        skipped: counts what is passed over in folders.
        column: of Parquet files, the one with the pictures; None for the only one that can be.
    """
    paths: list[str] = []
    for argument in arguments:
        shards = shards_of_file(argument, column)
        if shards is None and not is_folder(argument):
            paths.append(argument)
            continue
        yield from _in_runs(paths)
        paths = []
        yield from shards if shards is not None else _in_runs(walk(argument, skipped))
    yield from _in_runs(paths)


def remaining_chunks(
    shards: Iterable[Shard], rows: int, last: str | None, skipped: Skipped
) -> Iterator[tuple[Chunk, int]]:
    """Give the spans that have no row yet, each with the number of its pictures that have one.

    Args:
        shards: the whole input.
        rows: that there are.
        last: the name in the last of them, None for none.
        skipped: counts what is passed over in archives.

    Raises:
        InputError: there are fewer pictures, or another has that name's place: the input has
            changed.
    """
    for shard in shards:
        for span in shard.spans(skipped):
            if 0 < rows <= len(span):
                found = span.read().names[rows - 1]
                if found != last:
                    raise InputError(
                        f"the input has changed: where {last} was is {found}; begin anew"
                    )
            if rows < len(span):
                yield span, rows
            rows = max(0, rows - len(span))
    if rows:
        raise InputError(f"the input has changed: it has {rows:,} pictures fewer; begin anew")


def shards_of_file(argument: str, column: str | None = None) -> Iterator[Shard] | None:
    """Return the shards of a file that holds many pictures, None for any other argument."""
    if not is_file(argument):
        return None
    try:
        file, _ = open_decompressed(argument)
        with file:
            head = file.read(512)
    except READING_FAULTS:
        return None  # and, as a picture, is told why not
    if head.startswith(MAGIC):
        return IDX.all(argument)
    if head.startswith(PARQUET):
        return iter([Parquet(argument, column)])
    if head[USTAR_AT:].startswith(USTAR) or argument.lower().endswith(".tar"):
        return iter([Tar(argument)])
    return None


def _in_runs(found: Iterable[str | Unreadable]) -> Iterator[Shard]:
    run: list[str] = []
    for one in found:
        if isinstance(one, str):
            run.append(one)
        if run and (len(run) == SHARD_FILES or not isinstance(one, str)):
            yield Files(tuple(run))
            run = []
        if isinstance(one, Unreadable):
            yield UnreadableInput(*one)
    if run:
        yield Files(tuple(run))
