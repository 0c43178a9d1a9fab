"""Read a data set of 28 x 28 grey images in IDX files: Fashion-MNIST, a similar one, your own.

    train-images-idx3-ubyte[.gz]   (N, 28, 28)     train-labels-idx1-ubyte[.gz]   (N,)
    t10k-images-idx3-ubyte[.gz]    (M, 28, 28)     t10k-labels-idx1-ubyte[.gz]    (M,)

Each half can exist without the other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from training.data.idx import parse_idx, read_content
from training.errors import DatasetError

SIDE = 28
SplitName = Literal["train", "test"]
STEMS: Mapping[SplitName, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Split:
    """One half of a data set, as stored in the files."""

    images: Tensor  # (N, 1, 28, 28) uint8
    labels: Tensor  # (N,) int64
    digests: Mapping[str, str]  # file name without .gz -> SHA-256 of the uncompressed file

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


def read_split(directory: Path, name: SplitName, num_classes: int) -> Split:
    """Return one half of the data set in a folder, after checking that its files fit together.

    Raises:
        IdxError: a file is not a complete IDX array.
        DatasetError: a file is missing, or images and labels do not fit each
            other or the number of classes.
    """
    images_path, labels_path = (find_file(directory, stem) for stem in STEMS[name])
    images_content, labels_content = read_content(images_path), read_content(labels_path)
    images = parse_idx(images_content, str(images_path))  # (N, 28, 28)
    labels = parse_idx(labels_content, str(labels_path))  # (N,)
    _check_images(images, images_path)
    _check_labels(labels, labels_path, len(images), num_classes)
    digests = dict(zip(STEMS[name], map(_sha256, (images_content, labels_content)), strict=True))
    return Split(images.unsqueeze(1), labels.to(torch.int64), digests)  # (N, 1, 28, 28), (N,)


def present_file(directory: Path, stem: str) -> Path | None:
    """Return the path of a file of the data set, gzipped or plain; None if there is neither."""
    paths = (directory / f"{stem}.gz", directory / stem)
    return next((path for path in paths if path.is_file()), None)


def find_file(directory: Path, stem: str) -> Path:
    """Return the path of a file of the data set, gzipped or plain.

    Raises:
        DatasetError: the folder holds neither.
    """
    if (path := present_file(directory, stem)) is not None:
        return path
    if not directory.is_dir():
        raise DatasetError(f"{directory} is not a folder: name the one with the data set's files")
    raise DatasetError(
        f"{directory} holds neither {stem} nor {stem}.gz: name the folder that has all four files"
    )


def _check_images(images: Tensor, path: Path) -> None:
    if images.dim() != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DatasetError(
            f"{path} has shape {tuple(images.shape)}: the network takes grey images of "
            f"{SIDE} x {SIDE}, that is (N, {SIDE}, {SIDE})"
        )
    if len(images) == 0:
        raise DatasetError(f"{path} holds no images: name the folder of a data set that has some")


def _check_labels(labels: Tensor, path: Path, num_images: int, num_classes: int) -> None:
    if tuple(labels.shape) != (num_images,):
        raise DatasetError(
            f"{path} has shape {tuple(labels.shape)}, but there are {num_images} images: "
            f"expected ({num_images},)"
        )
    highest = int(labels.max())
    if highest >= num_classes:
        raise DatasetError(
            f"{path} has class {highest}, but only {num_classes} classes are named "
            f"(0 to {num_classes - 1}): name them all in the file given with --labels"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
