"""An IDX file as an input: its images, and a reason where it is cut off or damaged."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.service.offline.inputs.found import (
    idx,
    rows,
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_idx_file_is_its_images(
    pack: Callable[[bytes], bytes], images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(pack(idx(images[:5000])))
    found = rows(path)
    assert [name for name, _ in found] == [f"{path}#{n}" for n in range(5000)]
    np.testing.assert_array_equal(np.stack([image[0] for _, image in found]), images[:5000])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(("bytes_left", "whole"), [(16 + 784 * 3 + 100, 3), (16, 0), (9, 0)])
def test_an_idx_file_that_is_cut_off_says_so(
    pack: Callable[[bytes], bytes],
    bytes_left: int,
    whole: int,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(idx(images[:5])[:bytes_left]))
    *found, (name, reason) = rows(path)
    assert len(found) == whole
    assert (name, reason) == (str(path), f"the file is cut off after {whole} images")


def test_an_idx_file_of_other_sides_says_so(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx(np.zeros((3, 32, 30), np.uint8)))
    assert rows(path) == [(str(path), "its images have 32 x 30 pixels, expected 28 x 28")]


def test_a_head_that_lies_is_one_row(images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "images"
    for pack in (bytes, gzip.compress):
        path.write_bytes(pack(idx(images[:3]).replace(struct.pack(">I", 3), b"\xff" * 4, 1)))
        *found, last = rows(path)
        assert len(found) == 3
        assert last == (str(path), "the file is cut off after 3 images")
        path.write_bytes(
            pack(idx(images[:3]).replace(struct.pack(">I", 3), struct.pack(">I", 2), 1))
        )
        *found, last = rows(path)
        assert len(found) == 2
        assert last[1] == "the file has more data after the 2 images that its header states"


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "whole", "reason"),
    [
        (lambda content: flipped(content, 200_000), 300, "CRC check failed"),  # within an image
        (lambda content: flipped(content, len(content) - 8), 300, "CRC check failed"),
        (lambda content: flipped(content, len(content) - 1), 300, "Incorrect length of data"),
        (lambda content: content[:-5], 300, "Compressed file ended before the end-of-stream"),
        (lambda content: content + b"more", 300, "Not a gzipped file (b'mo')"),
        (lambda content: content[:200_000], 255, "Compressed file ended before the end-of-stream"),
    ],
)
def test_a_compressed_idx_file_is_read_to_its_checksum(
    damage: Callable[[bytes], bytes],
    whole: int,
    reason: str,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    path = tmp_path / "images"
    path.write_bytes(damage(gzip.compress(idx(images[:300]), compresslevel=0)))
    *found, (name, fault) = rows(path)
    assert [name for name, _ in found] == [f"{path}#{n}" for n in range(whole)]
    assert name == str(path)
    assert fault.startswith(f"the file is broken or cut off after {whole} images: {reason}")


@settings(max_examples=100)
@given(damage=st.data())
def test_a_damaged_compressed_idx_file_never_does_more_than_end(
    damage: st.DataObject, images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "images"
    pack = damage.draw(st.sampled_from([gzip.compress, bz2.compress, lzma.compress]))
    content = bytearray(pack(idx(images[:20])))
    for _ in range(damage.draw(st.integers(1, 5))):
        place = damage.draw(st.integers(6, len(content) - 1))
        content[place] ^= damage.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = rows(path)
    assert 0 < len(found) < 22
    assert all(name.startswith(str(path)) for name, _ in found)
