"""The data that a run trains on, and the data that it is evaluated on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from training.data import fashion_mnist
from training.data.dataset import Split, SplitName, read_split
from training.data.holdout import hold_out
from training.data.labels import read_labels


@dataclass(frozen=True)
class Data:
    """The images of a run, and the names of their classes."""

    labels: tuple[str, ...]
    train: Split
    held: Split
    held_name: Literal["test", "validation"]

    def to(self, device: torch.device) -> "Data":
        """Return the same data on a device, where it stays for the whole run."""
        return Data(
            self.labels, _move(self.train, device), _move(self.held, device), self.held_name
        )

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file that was read."""
        return {**self.train.digests, **self.held.digests}


def load_data(directory: Path | None, labels: Path | None, *, validation: bool) -> Data:
    """Return the data of a run; with validation, the test set is not even opened.

    Args:
        directory: the folder of the IDX files; None to search for Fashion-MNIST.
        labels: the file with the class names; None for Fashion-MNIST, whose
            files are checked against their digests.
        validation: evaluate on images held out of the training set.

    Raises:
        IdxError: a file is not a complete IDX array.
        DatasetError: the data set is missing or does not fit together.
    """
    names = fashion_mnist.LABELS if labels is None else read_labels(labels)
    train = load_half("train", directory, None if labels is None else names)
    if validation:
        return Data(names, *hold_out(train), held_name="validation")
    held = load_half("test", directory, None if labels is None else names)
    return Data(names, train, held, held_name="test")


def load_half(name: SplitName, directory: Path | None, labels: tuple[str, ...] | None) -> Split:
    """Return one half of Fashion-MNIST (labels None), or of a data set with these labels."""
    if labels is None or directory is None:
        return fashion_mnist.load_split(name, directory)
    return read_split(directory, name, len(labels))


def _move(split: Split, device: torch.device) -> Split:
    return Split(split.images.to(device), split.labels.to(device), split.digests)
