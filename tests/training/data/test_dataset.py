"""A data set's files must fit each other, the network and the labels."""

import gzip
from pathlib import Path

import pytest
import torch

from training.data.dataset import STEMS, read_split
from training.data.idx import format_idx
from training.errors import DatasetError

IMAGES, LABELS = STEMS["train"]


def write(folder: Path, images: torch.Tensor, labels: torch.Tensor) -> Path:
    (folder / IMAGES).write_bytes(format_idx(images))
    (folder / LABELS).write_bytes(format_idx(labels))
    return folder


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


def test_a_split_has_the_shapes_and_dtypes_of_the_loop(small: Path) -> None:
    split = read_split(small, "train", 10)
    assert split.images.shape == (1280, 1, 28, 28)
    assert split.images.dtype == torch.uint8
    assert split.labels.shape == (1280,)
    assert split.labels.dtype == torch.int64
    assert len(split) == 1280
    assert set(split.digests) == {IMAGES, LABELS}


def test_digests_are_of_the_uncompressed_files(tmp_path: Path, small: Path) -> None:
    packed = (small / f"{IMAGES}.gz").read_bytes()
    (tmp_path / IMAGES).write_bytes(gzip.decompress(packed))
    (tmp_path / LABELS).write_bytes((small / LABELS).read_bytes())
    assert read_split(tmp_path, "train", 10).digests == read_split(small, "train", 10).digests


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (zeros(3, 32, 32), zeros(3), "has shape (3, 32, 32): the network takes grey images"),
        (zeros(3, 28, 28, 3), zeros(3), "has shape (3, 28, 28, 3): the network takes grey"),
        (zeros(0, 28, 28), zeros(0), "holds no images"),
        (zeros(3, 28, 28), zeros(2), "has shape (2,), but there are 3 images"),
        (zeros(3, 28, 28), zeros(3, 1), "has shape (3, 1), but there are 3 images"),
        (zeros(3, 28, 28), zeros(3) + 4, "has class 4, but only 4 classes are named (0 to 3)"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read_split(write(tmp_path, images, labels), "train", 4)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    write(tmp_path, zeros(1, 28, 28), zeros(1))
    with pytest.raises(DatasetError, match="holds neither t10k-images-idx3-ubyte nor"):
        read_split(tmp_path, "test", 10)
