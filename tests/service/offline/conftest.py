"""Inputs of `classify --out`: many images, and pictures of which some are broken."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.offline.classify_process import IMAGES
from tests.service.offline.inputs.found import idx, write_tar
from tests.service.pictures import encode


@pytest.fixture(scope="module")
def numbers(images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many images in an IDX file."""
    path = tmp_path_factory.mktemp("numbers") / "many.idx"
    path.write_bytes(idx(np.tile(images, (8, 1, 1))[:IMAGES]))  # of (N, 28, 28)
    return path


@pytest.fixture
def mixed(images: NDArray[np.uint8], tmp_path: Path) -> list[Path]:
    """Pictures in a folder and in a tar, broken ones among them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    contents = [encode(image) for image in images[:150]]
    contents[3], contents[140] = b"no picture", b""
    contents[7] = encode(np.tile(255 - images[7], (4, 4)))
    members = [(f"{n:03}.png", content) for n, content in enumerate(contents)]
    for name, content in members:
        (folder / name).write_bytes(content)
    return [folder, write_tar(tmp_path / "some.tar", members)]
