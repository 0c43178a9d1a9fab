"""Images in an IDX file, the format of Fashion-MNIST; their names are `NAME#INDEX`.

They have the network's size already. Source of the format: Y. LeCun's page of MNIST, "The IDX
file format".
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import (
    READING_ERRORS,
    Chunk,
    ImageBatch,
    LoadedChunk,
    Shard,
    UnreadableInput,
    display_name,
    open_decompressed,
)
from service.signature import ImageSpec

# Unsigned bytes with three axes (N, H, W), or four (N, C, H, W).
MAGICS = {3: b"\0\0\x08\x03", 4: b"\0\0\x08\x04"}
CHUNK_BYTES, SHARD_BYTES = 2048 * 28 * 28, 2**16 * 28 * 28  # of images


@dataclass(frozen=True)
class IDX:
    """Images start to stop of a file, or all images of a compressed file."""

    path: str
    spec: ImageSpec  # of the model's images
    start: int = 0
    stop: int | None = None

    @classmethod
    def all(cls, path: str, spec: ImageSpec) -> Iterator[Shard]:
        """Yield the shards of a file; a compressed file is one shard."""
        try:
            file, compressed = open_decompressed(path)
            with file:
                head = file.read(_head(spec).size)
                size = 0 if compressed else file.seek(0, os.SEEK_END)
        except READING_ERRORS as error:
            yield UnreadableInput(path, str(error))
            return
        if compressed:
            yield cls(path, spec)
            return
        count, fault = _count(head, spec)
        there, rest = divmod(max(0, size - _head(spec).size), spec.bytes)
        step = max(1, SHARD_BYTES // spec.bytes)
        for start in range(0, min(count, there), step):
            yield cls(path, spec, start, min(start + step, count, there))
        if fault or count > there:
            yield UnreadableInput(path, fault or _cut_off(there))
        elif there > count or rest:
            yield UnreadableInput(path, _more(count))

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield the images in chunks, in order, up to the end or to where the file is cut off."""
        if self.stop is None:
            yield from self._held()
            return
        step = max(1, CHUNK_BYTES // self.spec.bytes)
        for start in range(self.start, self.stop, step):
            yield Images(self.path, self.spec, start, min(start + step, self.stop))

    def _held(self) -> Iterator[Chunk]:
        index, fault = 0, ""
        try:
            file, _ = open_decompressed(self.path)
            with file:
                count, fault = _count(file.read(_head(self.spec).size), self.spec)
                for content in _contents(file, count, self.spec):
                    batch = _batch(self.path, self.spec, index, content)
                    yield LoadedChunk(batch)
                    index += len(batch.names)
                if index < count:
                    fault = _cut_off(index)
                # The checksum is after the last image, and is compared when the file ends.
                elif not fault and file.read(1):
                    fault = _more(count)
        except READING_ERRORS as error:
            fault = f"the file is broken or cut off after {index:,} images: {error}"
        if fault:
            yield UnreadableInput(self.path, fault)


@dataclass(frozen=True)
class Images:
    """Images start to stop of an uncompressed file."""

    path: str
    spec: ImageSpec
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
                file.seek(_head(self.spec).size + self.start * self.spec.bytes)
                content = file.read(len(self) * self.spec.bytes)
            batch = _batch(self.path, self.spec, self.start, content)
            if len(batch.names) == len(self):
                return batch
        except OSError as error:
            fault = error.strerror or str(error)
        names = [display_name(f"{self.path}#{index}") for index in range(self.start, self.stop)]
        return ImageBatch(names, [fault] * len(names))


def _head(spec: ImageSpec) -> struct.Struct:
    """Return the layout of a header: magic, number of images, C if it is not 1, H, W."""
    return struct.Struct(">4s" + "I" * (3 if spec.channels == 1 else 4))


def _count(head: bytes, spec: ImageSpec) -> tuple[int, str]:
    """Return the number of images in a header, or 0 and the reason why they cannot be read."""
    if len(head) < _head(spec).size:
        return 0, _cut_off(0)
    magic, count, *axes = _head(spec).unpack(head)
    expected = list(spec.shape[-len(axes) :])
    if magic != MAGICS[1 + len(axes)]:
        return 0, (
            f"it has {magic[-1]} axes, expected {1 + len(axes)}: images of {_pixels(expected)}"
        )
    if axes != expected:
        return 0, f"its images have {_pixels(axes)} pixels, expected {_pixels(expected)}"
    return count, ""


def _pixels(axes: Sequence[int]) -> str:
    return " x ".join(map(str, axes))


def _contents(file: BufferedIOBase, count: int, spec: ImageSpec) -> Iterator[bytes]:
    """Yield `count` images in pieces of whole ones, including those before a read error."""
    content = bytearray()
    left, span = count * spec.bytes, max(1, CHUNK_BYTES // spec.bytes) * spec.bytes
    try:
        while left and (read := file.read1(min(left, span))):
            content += read
            left -= len(read)
            while len(content) >= span:
                yield bytes(content[:span])
                del content[:span]
    except READING_ERRORS:
        if len(content) >= spec.bytes:
            yield bytes(content)
        raise
    if len(content) >= spec.bytes:
        yield bytes(content)


def _cut_off(images: int) -> str:
    return f"the file is cut off after {images:,} images"


def _more(images: int) -> str:
    return f"the file has more data after the {images:,} images that its header states"


def _batch(path: str, spec: ImageSpec, start: int, content: bytes) -> ImageBatch:
    count = len(content) // spec.bytes
    images = np.frombuffer(content, np.uint8, count * spec.bytes)
    name = display_name(path)
    names = [f"{name}#{index}" for index in range(start, start + count)]
    return ImageBatch(names, images.reshape(count, *spec.shape))  # (N, C, H, W)
