"""Read a model's origin: its checkpoint with class names, and its test and training sets."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from export.errors import ExportError
from training.data.dataset import Split, SplitName, read_split
from training.data.fashion_mnist import load_split
from training.data.labels import label_fault
from training.errors import DatasetError
from training.files.checkpoint import load_checkpoint


@dataclass(frozen=True)
class Origin:
    """The content of a checkpoint."""

    model: nn.Sequential  # in eval mode, on the CPU
    metadata: Mapping[str, str]
    labels: list[str]
    sha256: str  # of the whole file
    network: str  # the name in `training.networks.registry`


def read_origin(path: Path) -> Origin:
    """Return the content of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or is not a checkpoint.
        ExportError: it does not name its classes.
    """
    checkpoint = load_checkpoint(path)
    labels = _labels(checkpoint.metadata, path, checkpoint.num_classes)
    digest = sha256(path.read_bytes())
    return Origin(checkpoint.model, checkpoint.metadata, labels, digest, checkpoint.network)


def read_test_set(directory: Path | None, origin: Origin) -> Split:
    """Return the test set, after checking that the checkpoint was tested on it.

    Args:
        directory: the folder of its IDX files; None to search for Fashion-MNIST.
        origin: the checkpoint.

    Raises:
        IdxError: a file is not a complete IDX array.
        DatasetError: it is not found, or does not fit the checkpoint's classes.
        ExportError: it is another test set, or the checkpoint's metadata is broken.
    """
    return _read(directory, "test", origin)


def read_training_set(directory: Path | None, origin: Origin) -> Split:
    """Return the training set, checked in the same way.

    Raises:
        IdxError: a file is not a complete IDX array.
        ExportError: it is not found, does not fit the checkpoint's classes, or is another one.
    """
    try:
        return _read(directory, "train", origin)
    except DatasetError as error:
        raise ExportError(
            f"the input statistics are those of the training set, but {error} (--data), or leave "
            "them out with --no-input-statistics"
        ) from error


def _read(directory: Path | None, name: SplitName, origin: Origin) -> Split:
    num_classes = len(origin.labels)
    split = read_split(directory, name, num_classes) if directory else load_split(name)
    recorded = json_object(origin.metadata, "dataset")
    verb, noun = ("tested", "test") if name == "test" else ("trained", "training")
    for file, digest in split.digests.items():
        if recorded.get(file, digest) != digest:
            raise ExportError(
                f"{file} has SHA-256 {digest}, but the checkpoint was {verb} on {recorded[file]}: "
                f"give the folder of that {noun} set with --data"
            )
    return split


def json_object(checkpoint: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return an entry of a checkpoint's metadata, empty if it is missing.

    Raises:
        ExportError: it is not a JSON object.
    """
    text = checkpoint.get(key, "{}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ExportError(
            f"the checkpoint's metadata has {text[:60]!r} for `{key}`: expected a JSON object, as "
            "`python -m training` writes it"
        )
    return value


def sha256(content: bytes) -> str:
    """Return the SHA-256 digest in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _labels(metadata: Mapping[str, str], path: Path, num_classes: int) -> list[str]:
    try:
        labels = json.loads(metadata["labels"])
    except (KeyError, json.JSONDecodeError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ExportError(
            f"{path} does not name its classes: its metadata needs `labels`, a JSON list of names"
        )
    if (fault := label_fault(labels)) is not None:
        raise ExportError(f"in {path} {fault}: train with a name of its own for each class")
    if len(labels) != num_classes:
        raise ExportError(
            f"{path} names {len(labels)} classes, but its network has {num_classes}: its "
            "metadata needs one name for each"
        )
    return labels
