"""Images in an IDX file, the format of Fashion-MNIST; their names are `NAME#INDEX`.

They have the network's size already. Source of the format: Y. LeCun's page of MNIST, "The IDX
file format".
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import (
    READING_FAULTS,
    Chunk,
    ImageBatch,
    LoadedChunk,
    Shard,
    UnreadableInput,
    display_name,
    open_decompressed,
)
from service.preprocessing.pipeline import SIDE

MAGIC = b"\0\0\x08\x03"  # unsigned bytes, three axes
HEAD = struct.Struct(">4sIII")  # magic, images, rows, columns
IMAGE_BYTES = SIDE * SIDE
SPAN_IMAGES, SHARD_IMAGES = 2048, 2**16
SPAN_BYTES = SPAN_IMAGES * IMAGE_BYTES


@dataclass(frozen=True)
class IDX:
    """Images start to stop of a file, or all images of a compressed file."""

    path: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def all(cls, path: str) -> Iterator[Shard]:
        """Yield the shards of a file; a compressed file is one shard."""
        try:
            file, compressed = open_decompressed(path)
            with file:
                head = file.read(HEAD.size)
                size = 0 if compressed else file.seek(0, os.SEEK_END)
        except READING_FAULTS as error:
            yield UnreadableInput(path, str(error))
            return
        if compressed:
            yield cls(path)
            return
        count, fault = _count(head)
        there, rest = divmod(max(0, size - HEAD.size), IMAGE_BYTES)
        for start in range(0, min(count, there), SHARD_IMAGES):
            yield cls(path, start, min(start + SHARD_IMAGES, count, there))
        if fault or count > there:
            yield UnreadableInput(path, fault or _cut_off(there))
        elif there > count or rest:
            yield UnreadableInput(path, _more(count))

    def spans(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield the images in chunks, in order, up to the end or to where the file is cut off."""
        if self.stop is None:
            yield from self._held()
            return
        for start in range(self.start, self.stop, SPAN_IMAGES):
            yield Images(self.path, start, min(start + SPAN_IMAGES, self.stop))

    def _held(self) -> Iterator[Chunk]:
        index, fault = 0, ""
        try:
            file, _ = open_decompressed(self.path)
            with file:
                count, fault = _count(file.read(HEAD.size))
                for content in _contents(file, count * IMAGE_BYTES):
                    block = _block(self.path, index, content)
                    yield LoadedChunk(block)
                    index += len(block.names)
                if index < count:
                    fault = _cut_off(index)
                # The checksum is after the last image, and is compared when the file ends.
                elif not fault and file.read(1):
                    fault = _more(count)
        except READING_FAULTS as error:
            fault = f"the file is broken or cut off after {index:,} images: {error}"
        if fault:
            yield UnreadableInput(self.path, fault)


@dataclass(frozen=True)
class Images:
    """Images start to stop of an uncompressed file."""

    path: str
    start: int
    stop: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.stop - self.start

    def read(self) -> ImageBatch:
        """Return the images, or the reason why they cannot be read."""
        fault = "the file has become shorter"
        try:
            with Path(self.path).open("rb") as file:
                file.seek(HEAD.size + self.start * IMAGE_BYTES)
                block = _block(self.path, self.start, file.read(len(self) * IMAGE_BYTES))
            if len(block.names) == len(self):
                return block
        except OSError as error:
            fault = error.strerror or str(error)
        names = [display_name(f"{self.path}#{index}") for index in range(self.start, self.stop)]
        return ImageBatch(names, [fault] * len(names))


def _count(head: bytes) -> tuple[int, str]:
    """Return the number of images in a header, or 0 and the reason why they cannot be read."""
    if len(head) < HEAD.size:
        return 0, _cut_off(0)
    _, count, *sides = HEAD.unpack(head)
    if sides != [SIDE, SIDE]:
        return 0, f"its images have {sides[0]} x {sides[1]} pixels, expected 28 x 28"
    return count, ""


def _contents(file: BufferedIOBase, left: int) -> Iterator[bytes]:
    """Yield `left` bytes in pieces of whole images, including those before a read error."""
    content = bytearray()
    try:
        while left and (read := file.read1(min(left, SPAN_BYTES))):
            content += read
            left -= len(read)
            while len(content) >= SPAN_BYTES:
                yield bytes(content[:SPAN_BYTES])
                del content[:SPAN_BYTES]
    except READING_FAULTS:
        if len(content) >= IMAGE_BYTES:
            yield bytes(content)
        raise
    if len(content) >= IMAGE_BYTES:
        yield bytes(content)


def _cut_off(images: int) -> str:
    return f"the file is cut off after {images:,} images"


def _more(images: int) -> str:
    return f"the file has more data after the {images:,} images that its header states"


def _block(path: str, start: int, content: bytes) -> ImageBatch:
    count = len(content) // IMAGE_BYTES
    images = np.frombuffer(content, np.uint8, count * IMAGE_BYTES)
    name = display_name(path)
    names = [f"{name}#{index}" for index in range(start, start + count)]
    return ImageBatch(names, images.reshape(count, 1, SIDE, SIDE))  # (N, 1, 28, 28)
