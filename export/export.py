"""One export from a checkpoint to a proven model: fold, emit, prove, and only then write."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch

from export.equivalence import Equivalence, check, compare
from export.errors import ExportError
from export.fold import fold
from export.graph import emit
from export.metadata import attach, golden_samples, provenance
from export.settings import PROOF, ExportSettings
from training.atomic_write import write_atomically
from training.checkpoint import LAST_LAYER, load_checkpoint
from training.dataset import Split, read_split
from training.fashion_mnist import load_split

BYTE = 1 / 255  # from an image's bytes to the network's [0, 1]


def export(settings: ExportSettings) -> Equivalence:
    """Write `settings.out` and `equivalence.json` beside it, if the proof holds.

    Raises:
        ExportError: the network cannot be folded or emitted, or the proof fails.
        TrainingError: the checkpoint or the test set cannot be read, or the
            result not be written.
    """
    _make_folder(settings.out.parent)
    checkpoint = load_checkpoint(settings.checkpoint)
    num_classes = len(checkpoint.model.state_dict()[LAST_LAYER])
    labels = _labels(checkpoint.metadata, settings.checkpoint, num_classes)
    test = _test_set(settings.data, checkpoint.metadata, len(labels))
    proto = emit(fold(checkpoint.model, BYTE), test.images.shape[1:], len(labels))
    equivalence = compare(checkpoint.model, proto.SerializeToString(), test.images)
    check(equivalence)
    digest = _sha256(settings.checkpoint.read_bytes())
    attach(
        proto,
        version=settings.model_version,
        labels=labels,
        provenance=provenance(checkpoint.metadata, digest, _versions()),
        equivalence=equivalence,
        golden_samples=golden_samples(checkpoint.model, test.images, test.labels, equivalence),
    )
    onnx.checker.check_model(proto, full_check=True)
    _write(settings.out, proto.SerializeToString(), digest, test, equivalence)
    return equivalence


def _labels(metadata: Mapping[str, str], path: Path, num_classes: int) -> list[str]:
    try:
        labels = json.loads(metadata["labels"])
    except (KeyError, json.JSONDecodeError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ExportError(
            f"{path} does not name its classes: its metadata needs `labels`, a JSON list of names"
        )
    if len(labels) != num_classes:
        raise ExportError(
            f"{path} names {len(labels)} classes, but its network tells {num_classes} apart: its "
            "metadata needs one name for each"
        )
    return labels


def _test_set(directory: Path | None, metadata: Mapping[str, str], num_classes: int) -> Split:
    """Read the test set, and see that it is the one the checkpoint was tested on."""
    test = read_split(directory, "test", num_classes) if directory else load_split("test")
    recorded = json.loads(metadata.get("dataset", "{}"))
    for name, digest in test.digests.items():
        if recorded.get(name, digest) != digest:
            raise ExportError(
                f"{name} has SHA-256 {digest}, but the checkpoint was tested on {recorded[name]}: "
                "give the folder of that test set with --data"
            )
    return test


def _write(
    out: Path, model: bytes, checkpoint_digest: str, test: Split, equivalence: Equivalence
) -> None:
    proof = {
        "verdict": "equal",
        "model_sha256": _sha256(model),
        "checkpoint_sha256": checkpoint_digest,
        "test_set": dict(test.digests),
        "figures": asdict(equivalence),
        "versions": _versions(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    write_atomically(out, model)
    write_atomically(out.parent / PROOF, json.dumps(proof, indent=2) + "\n")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    """Return the versions of what computed the proof."""
    return {module.__name__: module.__version__ for module in (torch, numpy, onnx, onnxruntime)}


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(
            f"cannot make the folder {path}: {error.strerror}; choose another --out"
        ) from error
