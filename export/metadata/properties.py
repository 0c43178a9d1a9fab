"""The metadata of `model.onnx`, each entry a string in `metadata_props`.

name            what the service calls the model
version         the model's semantic version
labels          JSON list, one name per class, class 0 first
provenance      JSON object: network, recipe, seed, epochs, test_accuracy, dataset (SHA-256 of each
                uncompressed IDX file), checkpoint_sha256, versions
equivalence     JSON object: the figures of `export.proof.equivalence.Equivalence`
golden_samples  JSON object: images (base64 of uint8 (G, C, H, W)), logits (G lists of K
                floats, of float64 eval mode) and tolerance, the largest |difference| of a
                logit with which a device may still serve
preprocessing   JSON object: {"pipeline": "fashion-mnist"}, {"pipeline": "resize"} or
                {"pipeline": "center-crop", "resize": 256}; a checkpoint's model has none
input_statistics  JSON object: `export.metadata.input_statistics.InputStatistics`, unless left out

There is no date: on the same machine and with the same versions, the same checkpoint gives a
byte-identical file.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ExportError
from export.metadata.input_statistics import KEY as INPUT_STATISTICS
from export.metadata.semantic_version import semantic_version
from export.origin import json_object
from export.proof.equivalence import Equivalence, reference_logits

NAME = "fashion_lenet"

# Devices sum in different orders, so their error may be a few times eval mode's error in float32.
# A GPU's TF32, with factors of 10 bits instead of 23, has an error thousands of times larger.
GOLDEN_ALLOWANCE = 10.0


def golden_samples(
    model: nn.Sequential, images: Tensor, labels: Tensor, equivalence: Equivalence
) -> str:
    """Return, as JSON, the first image of each class and the logits that a device must give.

    Args:
        model: the trained network in eval mode.
        images: (N, 1, 28, 28) uint8.
        labels: (N,) int64.
        equivalence: the measured figures of the model; the tolerance is ten times
            eval mode's largest error in float32.
    """
    first = [int((labels == label).nonzero()[0]) for label in torch.unique(labels)]
    chosen = images[first]  # (G, 1, 28, 28)
    return samples_text(chosen, reference_logits(model, chosen), equivalence.eval_mode.max_error)


def samples_text(images: Tensor, logits: NDArray[np.float64], own_error: float) -> str:
    """Return golden samples as JSON.

    Args:
        images: (G, C, H, W) uint8.
        logits: (G, K), of float64 eval mode.
        own_error: eval mode's largest error in float32; the tolerance is ten times that.
    """
    return json.dumps(
        {
            "images": base64.b64encode(images.numpy().tobytes()).decode(),
            "logits": logits.tolist(),
            "tolerance": GOLDEN_ALLOWANCE * own_error,
        }
    )


def provenance(
    checkpoint: Mapping[str, str], checkpoint_sha256: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the model's origin, for JSON: the checkpoint's metadata and the export's versions.

    Raises:
        ExportError: the checkpoint's `dataset` or `versions` is not a JSON object.
    """
    known = ("network", "recipe", "seed", "epochs", "test_accuracy")
    return {
        **{key: checkpoint[key] for key in known if key in checkpoint},
        "dataset": json_object(checkpoint, "dataset"),
        "checkpoint_sha256": checkpoint_sha256,
        "versions": {**json_object(checkpoint, "versions"), **versions},
    }


def attach(
    proto: onnx.ModelProto,
    *,
    name: str = NAME,
    version: str,
    labels: Sequence[str],
    provenance: str,
    equivalence: Mapping[str, Any],
    golden_samples: str,
    preprocessing: str | None = None,
    input_statistics: str | None = None,
) -> None:
    """Write the metadata into the model; the proven graph is not changed.

    Raises:
        ExportError: the version is not a semantic version.
    """
    try:
        semantic_version(version)
    except ValueError as error:
        raise ExportError(f"the model's version {error}") from error
    properties = {
        "name": name,
        "version": version,
        "labels": json.dumps(list(labels)),
        "provenance": provenance,
        "equivalence": json.dumps(equivalence),
        "golden_samples": golden_samples,
    }
    if preprocessing is not None:
        properties["preprocessing"] = preprocessing
    if input_statistics is not None:
        properties[INPUT_STATISTICS] = input_statistics
    onnx.helper.set_model_props(proto, properties)
