"""What `model.onnx` carries beside the graph, each as a string in `metadata_props`.

name            what the service calls the model
version         the model's semantic version
labels          JSON list, one name per class, class 0 first
provenance      JSON object: recipe, seed, epochs, test_accuracy, dataset (SHA-256 of each
                uncompressed IDX file), checkpoint_sha256, versions
equivalence     JSON object: the figures of `export.proof.equivalence.Equivalence`
golden_samples  JSON object: images (base64 of uint8 (G, 1, 28, 28)), logits (G lists of K
                floats, float64 eval mode's) and tolerance, the largest |difference| of a
                logit that a device may show before it must not serve
input_statistics  JSON object: `export.metadata.input_statistics.InputStatistics`, unless left out

No date is among them: on the same machine and with the same versions, the same checkpoint gives the
same file, to the byte.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import onnx
import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.metadata.input_statistics import KEY as INPUT_STATISTICS
from export.metadata.semantic_version import semantic_version
from export.origin import json_object
from export.proof.equivalence import Equivalence, reference_logits

NAME = "fashion_lenet"

# A device sums in an order of its own, and so may be off by some times eval mode's error in
# float32. A GPU's TF32, with 10 bits for a factor in place of 23, is off by thousands of times.
GOLDEN_ALLOWANCE = 10.0


def golden_samples(
    model: nn.Sequential, images: Tensor, labels: Tensor, equivalence: Equivalence
) -> str:
    """Pick the first image of each class, with the logits a device must find for it.

    Args:
        model: the trained network in eval mode.
        images: (N, 1, 28, 28) uint8.
        labels: (N,) int64.
        equivalence: what was measured of the model; the tolerance is ten times
            eval mode's largest error in float32.
    """
    first = [int((labels == label).nonzero()[0]) for label in torch.unique(labels)]
    chosen = images[first]  # (G, 1, 28, 28)
    return json.dumps(
        {
            "images": base64.b64encode(chosen.numpy().tobytes()).decode(),
            "logits": reference_logits(model, chosen).tolist(),
            "tolerance": GOLDEN_ALLOWANCE * equivalence.eval_mode.max_error,
        }
    )


def provenance(
    checkpoint: Mapping[str, str], checkpoint_sha256: str, versions: Mapping[str, str]
) -> str:
    """Say where the model comes from: the checkpoint's own metadata, and what exported it.

    Raises:
        ExportError: the checkpoint's `dataset` or `versions` is no JSON object.
    """
    known = ("recipe", "seed", "epochs", "test_accuracy")
    return json.dumps(
        {
            **{key: checkpoint[key] for key in known if key in checkpoint},
            "dataset": json_object(checkpoint, "dataset"),
            "checkpoint_sha256": checkpoint_sha256,
            "versions": {**json_object(checkpoint, "versions"), **versions},
        }
    )


def attach(
    proto: onnx.ModelProto,
    *,
    version: str,
    labels: Sequence[str],
    provenance: str,
    equivalence: Equivalence,
    golden_samples: str,
    input_statistics: str | None = None,
) -> None:
    """Put the metadata into the model; the graph stays as it was proved.

    Raises:
        ExportError: the version is no semantic version.
    """
    try:
        semantic_version(version)
    except ValueError as error:
        raise ExportError(f"the model's version {error}") from error
    properties = {
        "name": NAME,
        "version": version,
        "labels": json.dumps(list(labels)),
        "provenance": provenance,
        "equivalence": json.dumps(asdict(equivalence)),
        "golden_samples": golden_samples,
    }
    if input_statistics is not None:
        properties[INPUT_STATISTICS] = input_statistics
    onnx.helper.set_model_props(proto, properties)
