"""Export a network of the user's: fold, emit, prove, and only then write."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor, nn

from export.errors import ExportError, NetworkError
from export.metadata.network_samples import network_samples
from export.metadata.properties import attach
from export.network.data import Images, ImageTensor
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.network.loading import network as as_network
from export.network.reading import class_names, read_data, read_network
from export.onnx_file.emission import EmittedModel, emit
from export.origin import sha256
from export.proof.equivalence import refuse
from export.proof.file import circumstances, report_text, versions
from export.settings import PROOF, ExportSettings
from export.verification.candidate import open_candidate
from export.verification.measurement import CONTIGUOUS, DEFAULT, DISABLED
from export.verification.progress import progress_bar
from export.verification.refolding import fold_network
from export.verification.report import as_json, describe
from export.verification.verification import (
    DATA,
    Verification,
    faults,
    images_of_all_kinds,
    verify_candidate,
)
from training.data.labels import label_fault
from training.files.atomic_write import write_together
from training.files.folders import check_folder, make_folder

NAME = "classifier"
RESIZE, CENTER_CROP, FASHION_MNIST = "resize", "center-crop", "fashion-mnist"
PIPELINES = (RESIZE, CENTER_CROP, FASHION_MNIST)
CROP = 256 / 224  # the shorter side before the cut, as torchvision's presets have it


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


@dataclass(frozen=True)
class Description:
    """What a model's metadata says of it beside its proof."""

    labels: tuple[str, ...]
    name: str = NAME
    version: str = "1.0.0"
    preprocessing: str = RESIZE
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
    return _export(net, data, Path(out), description)


def export_settings(settings: ExportSettings) -> Proof:
    """Write the network that the settings name, if it is proved equal; `settings.network` is given.

    Raises:
        ExportError: see `export_network`; or it cannot be built, or its weights do not fit.
        TrainingError: a file of the data or of the labels cannot be read.
    """
    check_folder(settings.out.parent)
    net = read_network(settings, settings.checkpoint)
    images = read_data(settings, net)
    description = Description(
        class_names(settings, net, images),
        settings.name or settings.out.absolute().parent.name or NAME,
        settings.model_version,
        settings.preprocessing or RESIZE,
        {
            "network": settings.network,
            "arguments": settings.keyword_arguments,
            "weights_sha256": sha256(settings.checkpoint.read_bytes()),
        },
    )
    return _export(net, images, settings.out, description)


def _export(net: Network, images: Images, out: Path, description: Description) -> Proof:
    _check(net, description)
    check_folder(out.parent)
    input_format = net.input_format
    folding = fold_network(net)
    emitted = emit(folding.network)
    found = _verify(net, emitted, images)
    refuse(faults(found))
    attach(
        emitted.model,
        name=description.name,
        version=description.version,
        labels=description.labels,
        provenance=json.dumps(
            {
                **description.provenance,
                "mean": list(input_format.mean),
                "std": list(input_format.std),
                "versions": versions(),
            }
        ),
        equivalence=_figures(found),
        golden_samples=network_samples(net, images, found.own_error),
        preprocessing=_pipeline(description.preprocessing, input_format),
    )
    onnx.checker.check_model(emitted.model, full_check=True)
    content = emitted.model.SerializeToString()
    proof = Proof(tuple(map(str, folding.left_over)), len(folding.steps), found)
    make_folder(out.parent)
    write_together({out: content, out.parent / PROOF: _text(content, proof)})
    return proof


def _check(net: Network, description: Description) -> None:
    if len(description.labels) != net.num_classes:
        raise NetworkError(
            f"there are {len(description.labels)} labels, but the network has {net.num_classes} "
            "classes: expected one name for each"
        )
    if (fault := label_fault(list(description.labels))) is not None:
        raise NetworkError(f"{fault}: expected a name of its own for each class")
    if description.preprocessing not in PIPELINES:
        raise ExportError(
            f"preprocessing {description.preprocessing!r}: expected {', '.join(PIPELINES)}"
        )
    if description.preprocessing == FASHION_MNIST and net.input_format.channels != 1:
        raise ExportError(
            f"preprocessing {FASHION_MNIST} is for images of 1 channel, but the network takes "
            f"{net.input_format.channels}: expected {RESIZE} or {CENTER_CROP}"
        )


def _verify(net: Network, emitted: EmittedModel, images: Images) -> Verification:
    """Return the figures of the file as ONNX Runtime reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(emitted.model.SerializeToString())
        candidate = open_candidate(path, net)
        with progress_bar(images_of_all_kinds(images)) as progress:
            return verify_candidate(
                net, candidate, images, unrounded=emitted.exact_weights, progress=progress
            )


def _figures(found: Verification) -> dict[str, Any]:
    """Return the main figures, for the model."""
    measured = found.measured[DATA]
    runs = {
        name: {
            "max_error": run.max_error,
            "mean_error": run.mean_error,
            "worst_image": run.worst_image,
            "classes_equal": run.classes_equal,
        }
        for name, run in measured.runs.items()
    }
    return {
        "images": measured.images,
        "graph_error": None if found.graph is None else found.graph.error,
        "eval_mode": runs[CONTIGUOUS],
        "folded": {name: runs[name] for name in (DEFAULT, DISABLED)},
        "smallest_margin": float(measured.margins.min()),
        "undecided": found.undecided(),
    }


def _pipeline(preprocessing: str, input_format: InputFormat) -> str:
    content: dict[str, object] = {"pipeline": preprocessing}
    if preprocessing == CENTER_CROP:
        content["resize"] = round(max(input_format.height, input_format.width) * CROP)
    return json.dumps(content)


def _text(content: bytes, proof: Proof) -> str:
    report = {
        **as_json(proof.verification),
        "batch_norms": {"folded": proof.folded, "left": list(proof.folding)},
        "model_sha256": sha256(content),
        **circumstances(),
    }
    return report_text(report)
