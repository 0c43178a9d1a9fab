"""What a large input is made of: shards, their spans, and the pictures of a span in memory.

A shard can be read by itself wherever its files are, and gives spans, of which each fits into
memory; a span knows how many pictures it has before they are read, so that those with answers
already can be passed over.
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

SPAN_FILES = 256

# How compressed files begin, and who reads them.
COMPRESSED: Mapping[bytes, Callable[[str], BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
READING_FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError)

# What the network sees, (N, 1, 28, 28); or of each picture that, (28, 28), or its file, or the
# reason why there is none.
Pictures = NDArray[np.uint8] | Sequence[NDArray[np.uint8] | bytes | str]


class ImageBatch(NamedTuple):
    """Pictures in memory, with their names."""

    names: Sequence[str]
    pictures: Pictures


class Chunk(Protocol):
    """Some pictures that are not read yet, or are; it can be sent to another process."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self) -> ImageBatch:
        """Return them; what cannot be read is a reason in its place."""


class Shard(Protocol):
    """A part of the input that can be read by itself; it can be sent to another machine."""

    def spans(self, skipped: Skipped) -> Iterator[Chunk]:
        """Read through it; the same spans in the same order each time.

        Args:
            skipped: counts what is passed over.
        """


@dataclass(frozen=True)
class LoadedChunk:
    """A span that could only be read in its order, and so has been."""

    block: ImageBatch

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.block.names)

    def read(self) -> ImageBatch:
        """Return them."""
        return self.block


@dataclass(frozen=True)
class UnreadableInput:
    """What stands, as a shard and as a span, for something that cannot be read."""

    name: str
    reason: str

    def spans(self, skipped: Skipped) -> Iterator[Chunk]:
        """Give itself."""
        yield self

    def __len__(self) -> int:
        """It is one row."""
        return 1

    def read(self) -> ImageBatch:
        """Return the reason."""
        return ImageBatch([display_name(self.name)], [self.reason])


def display_name(path: str) -> str:
    """Return a file's name as text; it may be no Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


def open_decompressed(path: str) -> tuple[BufferedIOBase, bool]:
    """Open a file, decompressed where it is compressed, and say which.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(6)
    for start, opener in COMPRESSED.items():
        if head.startswith(start):
            return opener(path), True
    return Path(path).open("rb"), False
