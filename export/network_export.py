"""Export a network of the user's, or a checkpoint's: fold, emit, prove, and only then write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from export.metadata.input_statistics import measure
from export.metadata.properties import provenance
from export.network.data import Images, ImageTensor
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.network.loading import network as as_network
from export.network.reading import read_data, read_network
from export.onnx_file.emission import emit
from export.origin import read_origin, read_test_set, read_training_set
from export.proof.equivalence import refuse
from export.proof.file import versions
from export.proved_model import (
    FASHION_MNIST,
    NAME,
    RESIZE,
    Description,
    check,
    describe_model,
    verify_model,
    write_model,
)
from export.settings import ExportSettings
from export.verification.refolding import fold_network
from export.verification.report import describe
from export.verification.verification import Verification, faults
from training.data.dataset import SIDE
from training.files.folders import check_folder


@dataclass(frozen=True)
class Proof:
    """What an export found: how batch norms were folded, and that the file is the network."""

    folding: tuple[str, ...]  # a line for each batch norm that stays as an affine map
    folded: int  # batch norms that are in a layer
    verification: Verification

    def __str__(self) -> str:
        """Return all figures as text."""
        folding = f"{self.folded} batch norms folded, {len(self.folding)} left as affine maps"
        return "\n".join([folding, *self.folding, "", describe(self.verification)])


def export_network(
    model: nn.Module,
    images: Tensor,
    *,
    out: str | Path,
    labels: Sequence[str] | None = None,
    image_labels: Tensor | None = None,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    name: str = NAME,
    model_version: str = "1.0.0",
    preprocessing: str = RESIZE,
) -> Proof:
    """Fold a network's batch norms, and write it as ONNX if it is proved to be the network.

        proof = export_network(model.eval(), images, out="model.onnx", mean=0.5, std=0.25)

    Args:
        model: the network in eval mode; takes (N, C, H, W) float32 and returns logits (N, K). It
            is not modified. DataParallel and torch.compile around it are taken off.
        images: (N, C, H, W) uint8 to prove it on, N at least 1 and C 1 or 3: what the network's
            values are made of, (byte / 255 - mean) / std.
        out: the file; `equivalence.json` goes beside it. Both are replaced together.
        labels: K names of classes; else their numbers.
        image_labels: (N,) integers, the images' classes, so that golden samples are of many.
        mean: of images in [0, 1]; one number, or one for each channel.
        std: the same, above 0.
        name: what the service calls the model.
        model_version: a semantic version.
        preprocessing: how the service makes C x H x W of a picture: `resize`, `center-crop` or,
            for one channel, `fashion-mnist`.

    Returns:
        The proof, which held.

    Raises:
        NetworkError: the network is no classifier of such images, or is in train mode.
        ImagesError: the images have another dtype or shape.
        FoldError: it cannot be traced or folded.
        GraphError: an operator has no ONNX counterpart here.
        EquivalenceError: the proof fails.
        RunError: the file cannot be written.
    """
    data = ImageTensor(images, image_labels)
    net = as_network(model, InputFormat.of(data.shape, mean, std))
    names = tuple(map(str, range(net.num_classes))) if labels is None else tuple(labels)
    description = Description(names, name, model_version, preprocessing)
    check(net, description)
    return _export(net, data, Path(out), description)


def export_settings(settings: ExportSettings) -> Proof:
    """Write the network that the settings name, else the checkpoint's, if it is proved equal.

    Raises:
        ExportError: see `export_network`; or it cannot be built, or its weights do not fit.
        TrainingError: a file of the data or of the labels cannot be read.
    """
    check_folder(settings.out.parent)
    if settings.network is None:
        return _export_checkpoint(settings)
    net = read_network(settings, settings.checkpoint)
    images = read_data(settings, net)
    description = describe_model(settings, settings.checkpoint, net, images)
    return _export(net, images, settings.out, description)


def _export_checkpoint(settings: ExportSettings) -> Proof:
    origin = read_origin(settings.checkpoint)
    test = read_test_set(settings.data, origin)
    train = None if settings.no_input_statistics else read_training_set(settings.data, origin)
    description = Description(
        tuple(origin.labels),
        settings.out.absolute().parent.name or NAME,
        settings.model_version,
        FASHION_MNIST,
        provenance(origin.metadata, origin.sha256, versions()),
        measure(origin.model, train.images).to_json() if train else None,
    )
    net = as_network(origin.model, InputFormat.of((1, SIDE, SIDE)))
    return _export(
        net,
        ImageTensor(test.images, test.labels),
        settings.out,
        description,
        {"checkpoint_sha256": origin.sha256, "test_set": dict(test.digests)},
    )


def _export(
    net: Network,
    images: Images,
    out: Path,
    description: Description,
    sources: Mapping[str, Any] = MappingProxyType({}),
) -> Proof:
    """Write the model; sources are digests for its report."""
    check_folder(out.parent)
    folding = fold_network(net)
    emitted = emit(folding.network)
    found = verify_model(net, emitted.model, images, emitted.exact_weights)
    refuse(faults(found))
    proof = Proof(tuple(map(str, folding.left_over)), len(folding.steps), found)
    batch_norms = {"folded": proof.folded, "left": list(proof.folding)}
    report = {"batch_norms": batch_norms, **sources}
    write_model(out, emitted.model, net, images, found, description, report)
    return proof
