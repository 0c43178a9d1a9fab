"""The rows of large inputs, and files of such inputs."""

import io
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.offline.inputs.discovery import find_shards
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import ImageBatch, Shard
from tests.service.pictures import FASHION

Row = tuple[str, Any]


def blocks(shards: Iterator[Shard]) -> Iterator[ImageBatch]:
    for shard in shards:
        for span in shard.chunks(Skipped()):
            block = span.read()
            assert len(span) == len(block.names) == len(block.pictures) > 0
            yield block


def rows(*arguments: str | Path, column: str | None = None) -> list[Row]:
    return [
        (name, picture)
        for block in blocks(find_shards(map(str, arguments), Skipped(), FASHION, column))
        for name, picture in zip(block.names, block.pictures, strict=True)
    ]


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def idx(images: NDArray[np.uint8]) -> bytes:
    return struct.pack(">4sIII", b"\0\0\x08\x03", *images.shape) + images.tobytes()
