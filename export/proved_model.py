"""Verify the model of a user's network as it will be served, and write it with its metadata.

The model is one that `python -m export` emits, or that `python -m export seal` makes of a file.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.errors import ExportError, NetworkError
from export.metadata.network_samples import network_samples
from export.metadata.properties import attach
from export.network.data import Images
from export.network.input_format import InputFormat
from export.network.loading import Network
from export.network.reading import class_names
from export.origin import sha256
from export.proof.file import circumstances, report_text, versions
from export.settings import PROOF, WrittenModelSettings
from export.verification.candidate import open_candidate
from export.verification.measurement import CONTIGUOUS, DEFAULT, DISABLED
from export.verification.progress import progress_bar
from export.verification.report import as_json
from export.verification.verification import (
    DATA,
    Verification,
    images_of_all_kinds,
    verify_candidate,
)
from training.data.labels import label_fault
from training.files.atomic_write import write_together
from training.files.folders import make_folder

NAME = "classifier"
RESIZE, CENTER_CROP, FASHION_MNIST = "resize", "center-crop", "fashion-mnist"
PIPELINES = (RESIZE, CENTER_CROP, FASHION_MNIST)
CROP = 256 / 224  # the shorter side before the cut, as torchvision's presets have it


@dataclass(frozen=True)
class Description:
    """What a model's metadata says of it beside its proof."""

    labels: tuple[str, ...]
    name: str = NAME
    version: str = "1.0.0"
    preprocessing: str = RESIZE
    provenance: Mapping[str, Any] = field(default_factory=dict)
    input_statistics: str | None = None  # JSON


def describe_model(
    settings: WrittenModelSettings, weights: Path, net: Network, images: Images
) -> Description:
    """Return what the options say of the model of a network; weights is the file of its own.

    Raises:
        DatasetError: the labels file cannot be read.
        ExportError: see `check`; or there are more or fewer labels than classes.
    """
    description = Description(
        class_names(settings, net, images),
        settings.name or settings.out.absolute().parent.name or NAME,
        settings.model_version,
        settings.preprocessing or RESIZE,
        {
            "network": settings.network,
            "arguments": settings.keyword_arguments,
            "weights_sha256": sha256(weights.read_bytes()),
        },
    )
    check(net, description)
    return description


def check(net: Network, description: Description) -> None:
    """Check that a description fits the network.

    Raises:
        NetworkError: there are more or fewer labels than classes, or two are the same.
        ExportError: the preprocessing is not known, or is not for such images.
    """
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


def verify_model(
    net: Network,
    model: onnx.ModelProto,
    images: Images,
    unrounded: Mapping[str, NDArray[np.floating]] | None = None,
) -> Verification:
    """Return the figures of a model as ONNX Runtime reads its file.

    unrounded: see `verify_candidate`.

    Raises:
        ModelError: ONNX Runtime cannot compute it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        candidate = open_candidate(path, net)
        with progress_bar(images_of_all_kinds(images)) as progress:
            return verify_candidate(net, candidate, images, unrounded=unrounded, progress=progress)


def write_model(
    out: Path,
    model: onnx.ModelProto,
    net: Network,
    images: Images,
    found: Verification,
    description: Description,
    report: Mapping[str, Any],
) -> None:
    """Write a verified model with its metadata, and `equivalence.json` beside it.

    Args:
        out: the file to write.
        model: gets the metadata; its graph is not changed.
        net: the network that it is.
        images: where the golden samples come from.
        found: the model's figures, which passed.
        description: of the model.
        report: what `equivalence.json` says beside the figures.

    Raises:
        ImagesError: there can be no golden samples.
        RunError: a file cannot be written; none is.
    """
    input_format = net.input_format
    attach(
        model,
        name=description.name,
        version=description.version,
        labels=description.labels,
        provenance=json.dumps(
            {
                **description.provenance,
                "mean": list(input_format.mean),
                "std": list(input_format.std),
                "versions": {**description.provenance.get("versions", {}), **versions()},
            }
        ),
        equivalence=_figures(found),
        golden_samples=network_samples(net, images, found.own_error),
        preprocessing=_pipeline(description.preprocessing, input_format),
        input_statistics=description.input_statistics,
    )
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    proof = {**as_json(found), **report, "model_sha256": sha256(content), **circumstances()}
    make_folder(out.parent)
    write_together({out: content, out.parent / PROOF: report_text(proof)})


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
