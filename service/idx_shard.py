"""An IDX file of images, as Fashion-MNIST comes: `NAME#INDEX`, what the network sees already.

Source of the format: Y. LeCun's page of MNIST, "The IDX file format".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.model import SIDE
from service.shards import Block, Held, Span, opened, shown, unread

MAGIC = b"\0\0\x08\x03"  # unsigned bytes, three axes
HEAD = struct.Struct(">4sIII")  # magic, images, rows, columns
IMAGE_BYTES = SIDE * SIDE
SPAN_IMAGES, SHARD_IMAGES = 2048, 2**16


@dataclass(frozen=True)
class IDX:
    """Images start to stop of a file; of one that is compressed, all."""

    path: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def all(cls, path: str) -> Iterator["IDX"]:
        """Divide a file into shards; one that is compressed or wrong is one shard."""
        file, compressed = opened(path)
        with file:
            _, count, *sides = HEAD.unpack(file.read(HEAD.size).ljust(HEAD.size, b"\0"))
        if compressed or sides != [SIDE, SIDE]:
            yield cls(path)
            return
        for start in range(0, count, SHARD_IMAGES):
            yield cls(path, start, min(start + SHARD_IMAGES, count))

    def spans(self) -> Iterator[Span]:
        """Read them in order, to their end or to where the file is cut off."""
        if self.stop is None:
            yield from self._held()
            return
        there = max(0, Path(self.path).stat().st_size - HEAD.size) // IMAGE_BYTES
        stop = min(self.stop, max(there, self.start))
        for start in range(self.start, stop, SPAN_IMAGES):
            yield Images(self.path, start, min(start + SPAN_IMAGES, stop))
        if stop < self.stop:
            yield self._cut_off(there)

    def _held(self) -> Iterator[Span]:
        index = 0
        try:
            file, _ = opened(self.path)
            with file:
                _, count, *sides = HEAD.unpack(file.read(HEAD.size))
                if sides != [SIDE, SIDE]:
                    reason = f"its images have {sides[0]} x {sides[1]} pixels, 28 x 28 are right"
                    yield unread(self.path, reason)
                    return
                while index < count:
                    content = file.read(min(SPAN_IMAGES, count - index) * IMAGE_BYTES)
                    if len(content) < IMAGE_BYTES:
                        break
                    block = _block(self.path, index, content)
                    yield Held(block)
                    index += len(block.names)
            if index < count:
                yield self._cut_off(index)
        except (OSError, EOFError, struct.error):
            yield self._cut_off(index)

    def _cut_off(self, images: int) -> Span:
        return unread(self.path, f"the file is cut off behind {images:,} images")


@dataclass(frozen=True)
class Images:
    """Images start to stop of a file that is not compressed."""

    path: str
    start: int
    stop: int

    def __len__(self) -> int:
        """How many there are."""
        return self.stop - self.start

    def read(self) -> Block:
        """Return them."""
        try:
            with Path(self.path).open("rb") as file:
                file.seek(HEAD.size + self.start * IMAGE_BYTES)
                return _block(self.path, self.start, file.read(len(self) * IMAGE_BYTES))
        except OSError as error:
            names = [shown(f"{self.path}#{index}") for index in range(self.start, self.stop)]
            return Block(names, [error.strerror or str(error)] * len(names))


def _block(path: str, start: int, content: bytes) -> Block:
    count = len(content) // IMAGE_BYTES
    images = np.frombuffer(content, np.uint8, count * IMAGE_BYTES)
    name = shown(path)
    names = [f"{name}#{index}" for index in range(start, start + count)]
    return Block(names, images.reshape(count, 1, SIDE, SIDE))  # (N, 1, 28, 28)
