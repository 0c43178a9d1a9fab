"""`checkpoint.safetensors`: the trained network, and how it was trained.

The file holds the tensors of `lenet_bn(...).state_dict()` under exactly those
names, and these strings as safetensors metadata:

    recipe          the recipe's name
    seed, epochs    the settings of the training
    labels          JSON list, one name per class, class 0 first
    augmentation    JSON object, how images were changed at random: `training.recipes.Augmentation`
    dataset         JSON object, file name -> SHA-256 of the uncompressed IDX file
    versions        JSON object, package -> version
    test_accuracy   of these weights on the test set; absent if it was not measured
    version         the released model's version; absent for a run that is not a release
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from training.errors import CheckpointError
from training.files.atomic_write import write_atomically
from training.lenet import lenet_bn

LAST_LAYER = "15.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and its metadata."""

    model: nn.Sequential  # in eval mode, on the CPU
    metadata: Mapping[str, str]


def save_checkpoint(path: Path, model: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the network's tensors and the metadata atomically.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(path, checkpoint_bytes(model, metadata))


def checkpoint_bytes(model: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """Return the network's tensors and the metadata as the bytes of a safetensors file."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    return _with_ordered_header(safetensors.torch.save(tensors, dict(metadata)))


def _with_ordered_header(content: bytes) -> bytes:
    """Return the file with sorted metadata: safetensors writes it in a random order.

    The format (https://github.com/huggingface/safetensors#format): the header's size in 8 bytes,
    little-endian; the header, JSON padded with spaces; the tensors.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + content[8 + size :]


def load_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint's network and metadata; its last layer has one row per class.

    Raises:
        CheckpointError: the file cannot be read, is not a safetensors file, or
            does not have exactly LeNet-BN's tensors.
    """
    tensors, metadata = _read(path)
    if LAST_LAYER not in tensors:
        raise CheckpointError(f"{path} is not LeNet-BN: it has no tensor {LAST_LAYER!r}")
    model = lenet_bn(num_classes=len(tensors[LAST_LAYER]))
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file: name a checkpoint.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}): train it or fetch it again"
        ) from error


def _check_tensors(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check names, shapes and dtypes of the tensors; the error lists every difference."""
    faults = [f"{key} is missing" for key in expected.keys() - found.keys()]
    faults += [f"{key} does not belong" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        want, have = expected[key], found[key]
        if want.shape != have.shape:
            faults.append(f"{key} has shape {tuple(have.shape)}, not {tuple(want.shape)}")
        elif want.dtype != have.dtype:
            faults.append(f"{key} is {have.dtype}, not {want.dtype}")
    if faults:
        raise CheckpointError(f"{path} is not LeNet-BN: {'; '.join(sorted(faults))}")
