"""The parts of a large input: shards, their chunks, and batches of images in memory.

A shard can be read on its own, on any machine that has its files. It gives chunks that each fit
into memory. A chunk knows its number of images before they are read, so that a resumed run can
skip those that have rows.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.offline.inputs.image_files import Skipped

CHUNK_FILES = 256

# The first bytes of compressed files, and the classes that read them.
COMPRESSED: Mapping[bytes, Callable[[str], BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
READING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError)

# Either the network's input (N, C, H, W); or for each image its pixels (C, H, W), its file, or
# the reason why it cannot be read.
Pictures = NDArray[np.uint8] | Sequence[NDArray[np.uint8] | bytes | str]


class ImageBatch(NamedTuple):
    """Images in memory, with their names."""

    names: Sequence[str]
    pictures: Pictures


class Chunk(Protocol):
    """A part of a shard, read or not yet read; it can be sent to another process."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self) -> ImageBatch:
        """Return the images, with a reason in place of each that cannot be read."""


class Shard(Protocol):
    """A part of the input that can be read on its own; it can be sent to another machine."""

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield its chunks, the same ones in the same order each time.

        Args:
            skipped: counts the skipped files.
        """


@dataclass(frozen=True)
class LoadedChunk:
    """A chunk that is already in memory, because its file can only be read in order."""

    batch: ImageBatch

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.batch.names)

    def read(self) -> ImageBatch:
        """Return the images."""
        return self.batch


@dataclass(frozen=True)
class UnreadableInput:
    """An input that cannot be read, as a shard and as a chunk of one row."""

    name: str
    reason: str

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield itself."""
        yield self

    def __len__(self) -> int:
        """Return 1: it is one row."""
        return 1

    def read(self) -> ImageBatch:
        """Return the reason as the only row."""
        return ImageBatch([display_name(self.name)], [self.reason])


def display_name(path: str) -> str:
    """Return a file's name as text; bytes that are not Unicode are escaped."""
    return path.encode("utf-8", "backslashreplace").decode()


def open_decompressed(path: str) -> tuple[BufferedIOBase, bool]:
    """Return an open file, decompressed if needed, and whether it is compressed.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(6)
    for start, opener in COMPRESSED.items():
        if head.startswith(start):
            return opener(path), True
    return Path(path).open("rb"), False
