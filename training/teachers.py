"""Teachers: trained networks whose answers a student learns, from their checkpoints."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.data.dataset import STEMS
from training.errors import CheckpointError
from training.files.checkpoint import class_names, load_checkpoint


@dataclass(frozen=True)
class Teacher:
    """A trained network, and what is recorded of it."""

    model: nn.Sequential  # in eval mode, on the CPU
    network: str  # its name in `training.networks.registry`
    test_accuracy: str | None  # as its checkpoint has it
    sha256: str  # of its checkpoint

    def __str__(self) -> str:
        """Return the network's name and accuracy."""
        return f"{self.network} (test accuracy {self.test_accuracy or 'not recorded'})"

    def record(self) -> dict[str, Any]:
        """Return what identifies the teacher, for JSON."""
        return {
            "network": self.network,
            "test_accuracy": self.test_accuracy,
            "sha256": self.sha256,
        }


def load_teachers(
    paths: Sequence[Path], labels: tuple[str, ...], *, validation: bool
) -> list[Teacher]:
    """Return the teachers in checkpoints.

    Args:
        paths: the checkpoints.
        labels: the student's class names.
        validation: whether images are held out of the student's training set.

    Raises:
        CheckpointError: a file is not a checkpoint, its classes are not the student's, or it was
            trained on images that are held out.
    """
    return [_load(path, labels, validation) for path in paths]


def _load(path: Path, labels: tuple[str, ...], validation: bool) -> Teacher:
    checkpoint = load_checkpoint(path)
    known = class_names(checkpoint, path)
    if known != labels:
        raise CheckpointError(
            f"the teacher {path} has the {len(known)} classes {', '.join(known)}: expected the "
            f"data set's {len(labels)}, {', '.join(labels)}"
        )
    if validation and STEMS["test"][0] in checkpoint.metadata.get("dataset", ""):
        raise CheckpointError(
            f"the teacher {path} was trained on the images that --validation holds out: expected "
            "one that was itself trained with --validation"
        )
    # Convolutions are fastest with this layout.
    model = checkpoint.model.to(memory_format=torch.channels_last)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Teacher(model, checkpoint.network, checkpoint.metadata.get("test_accuracy"), digest)
