"""Inputs of `classify --out`: many images, and pictures of which some are broken."""

import struct
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.offline.classify_process import IMAGES
from tests.service.pictures import encode


@pytest.fixture(scope="module")
def numbers(images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many images in an IDX file."""
    path = tmp_path_factory.mktemp("numbers") / "many.idx"
    repeated = np.tile(images, (8, 1, 1))[:IMAGES]  # (N, 28, 28)
    head = struct.pack(">4sIII", b"\0\0\x08\x03", *repeated.shape)
    path.write_bytes(head + repeated.tobytes())
    return path


@pytest.fixture
def mixed(images: NDArray[np.uint8], tmp_path: Path) -> list[Path]:
    """Pictures in a folder and in a tar, broken ones among them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    contents = [encode(image) for image in images[:150]]
    contents[3], contents[140] = b"no picture", b""
    contents[7] = encode(np.tile(255 - images[7], (4, 4)))
    for n, content in enumerate(contents):
        (folder / f"{n:03}.png").write_bytes(content)
    archive = tmp_path / "some.tar"
    with tarfile.open(archive, "w") as file:
        for n, content in enumerate(contents):
            info = tarfile.TarInfo(f"{n:03}.png")
            info.size = len(content)
            file.addfile(info, BytesIO(content))
    return [folder, archive]
