"""Find the input of `python -m service classify --out`, and divide it into shards.

A shard is a group of image files, a tar archive, a part of an IDX file (the format of
Fashion-MNIST), or a Parquet file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InputError
from service.offline.inputs.idx import IDX, MAGICS
from service.offline.inputs.image_contents import read_picture
from service.offline.inputs.image_files import Skipped, Unreadable, is_file, is_folder, walk
from service.offline.inputs.parquet import PARQUET, Parquet
from service.offline.inputs.tar import USTAR, USTAR_AT, Tar
from service.offline.inputs.types import (
    CHUNK_FILES,
    READING_ERRORS,
    Chunk,
    ImageBatch,
    Shard,
    UnreadableInput,
    display_name,
    open_decompressed,
)
from service.signature import ImageSpec

SHARD_FILES = 1024


@dataclass(frozen=True)
class Files:
    """Image files, as a shard and as a chunk."""

    paths: tuple[str, ...]

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield the files in order, in chunks; none is skipped."""
        for start in range(0, len(self), CHUNK_FILES):
            yield Files(self.paths[start : start + CHUNK_FILES])

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def read(self) -> ImageBatch:
        """Return the contents of the files."""
        return ImageBatch([display_name(path) for path in self.paths], _Contents(self.paths))


class _Contents(Sequence[bytes | str]):
    """The contents of files; each file is read on access, since photographs take megabytes."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        found = self._paths[index]
        return read_picture(found) if isinstance(found, str) else _Contents(found)


def find_shards(
    arguments: Iterable[str], skipped: Skipped, spec: ImageSpec, column: str | None = None
) -> Iterator[Shard]:
    """Yield the shards of the input in order, with constant memory.

    Args:
        arguments: folders, which are searched recursively; tar archives, compressed or not; IDX
            and Parquet files; anything else is an image file.
        skipped: counts the skipped files in folders.
        spec: of the model's images.
        column: the image column of Parquet files; None for the only possible one.
    """
    paths: list[str] = []
    for argument in arguments:
        shards = shards_of_file(argument, spec, column)
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
    """Yield the chunks that have images without a row, each with its number of existing rows.

    Args:
        shards: the whole input.
        rows: number of existing rows.
        last: the name in the last of these rows, None if there are none.
        skipped: counts the skipped members of archives.

    Raises:
        InputError: the input has changed: it has fewer images, or another name at the last row.
    """
    for shard in shards:
        for chunk in shard.chunks(skipped):
            if 0 < rows <= len(chunk):
                check_resume_point(chunk, rows, last)
            if rows < len(chunk):
                yield chunk, rows
            rows = max(0, rows - len(chunk))
    check_no_rows_left(rows)


def check_resume_point(chunk: Chunk, rows: int, last: str | None) -> None:
    """Check that the last existing row, which is the chunk's row number `rows`, has its name.

    Raises:
        InputError: the input has changed.
    """
    found = chunk.read().names[rows - 1]
    if found != last:
        raise InputError(
            f"the input has changed: expected {last} for the last row, got {found}; start again"
        )


def check_no_rows_left(rows: int) -> None:
    """Check that every existing row has an image.

    Raises:
        InputError: there are so many rows more than images.
    """
    if rows:
        raise InputError(
            f"the input has changed: it has fewer images than there are rows ({rows:,} fewer); "
            "start again"
        )


def shards_of_file(
    argument: str, spec: ImageSpec, column: str | None = None
) -> Iterator[Shard] | None:
    """Return the shards of a file that holds many images, None for any other argument."""
    if not is_file(argument):
        return None
    try:
        file, _ = open_decompressed(argument)
        with file:
            head = file.read(512)
    except READING_ERRORS:
        return None  # the reason is reported when it is read as an image
    if head.startswith(tuple(MAGICS.values())):
        return IDX.all(argument, spec)
    if head.startswith(PARQUET):
        return iter([Parquet(argument, spec, column)])
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
