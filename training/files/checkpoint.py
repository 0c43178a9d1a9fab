"""`checkpoint.safetensors`: the trained network, and how it was trained.

The file holds the tensors of the network's `state_dict()` under exactly those
names, and these strings as safetensors metadata:

    network         the network's name in `training.networks.registry`; absent for lenet_bn in files
                    of earlier versions
    recipe          the recipe's name
    seed, epochs    the settings of the training
    labels          JSON list, one name per class, class 0 first
    augmentation    JSON object, how images were changed at random: `training.recipes.Augmentation`
    teachers        JSON list, the networks whose answers it learned, each a JSON object with
                    network, test_accuracy (or null) and its checkpoint's sha256; absent if it
                    learned labels
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
from training.networks.registry import NETWORKS, last_weight

UNNAMED = "lenet_bn"  # the network of a checkpoint that names none


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and its metadata."""

    model: nn.Sequential  # in eval mode, on the CPU
    metadata: Mapping[str, str]
    network: str  # its name
    num_classes: int


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
            does not have exactly its network's tensors.
    """
    tensors, metadata = _read(path)
    network = metadata.get("network", UNNAMED)
    if network not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise CheckpointError(f"{path} has the network {network!r}: expected one of {known}")
    factory = NETWORKS[network]
    last = last_weight(factory(1))
    if last not in tensors:
        raise CheckpointError(f"{path} is not {network}: it has no tensor {last!r}")
    num_classes = len(tensors[last])
    model = factory(num_classes)
    faults = _faults(tensors, model.state_dict())
    if faults:
        raise CheckpointError(f"{path} is not {network}: {'; '.join(sorted(faults))}")
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), metadata, network, num_classes)


def class_names(checkpoint: Checkpoint, path: Path) -> tuple[str, ...]:
    """Return the class names in a checkpoint's metadata; path is its name in error messages.

    Raises:
        CheckpointError: there are none, or their number is not the network's.
    """
    try:
        labels = tuple(map(str, json.loads(checkpoint.metadata["labels"])))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} does not name its classes: train again") from error
    classes = checkpoint.num_classes
    if len(labels) != classes:
        raise CheckpointError(f"{path} names {len(labels)} classes, its network has {classes}")
    return labels


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


def _faults(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return every difference in the names, shapes and dtypes of the tensors."""
    faults = [f"{key} is missing" for key in expected.keys() - found.keys()]
    faults += [f"{key} does not belong" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        want, have = expected[key], found[key]
        if want.shape != have.shape:
            faults.append(f"{key} has shape {tuple(have.shape)}, not {tuple(want.shape)}")
        elif want.dtype != have.dtype:
            faults.append(f"{key} is {have.dtype}, not {want.dtype}")
    return faults
