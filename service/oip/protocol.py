"""What the Open Inference Protocol's routes, methods and their description share."""

from collections.abc import Sequence
from typing import Any

from service.runtime.signature import INPUT, LOGITS, PROBABILITIES
from service.signature import ModelSignature

EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
REPOSITORY = "/v2/repository"  # of the paths of the extension model_repository
PLATFORM = "onnxruntime_onnx"  # Triton's name for it
INPUT_DATATYPE, OUTPUT_DATATYPE = "UINT8", "FP32"
OUTPUTS = (LOGITS, PROBABILITIES)


def describe_model(name: str, versions: Sequence[str], signature: ModelSignature) -> dict[str, Any]:
    """Return the protocol's metadata of a model: its inputs and outputs."""
    return {
        "name": name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [_tensor(INPUT, INPUT_DATATYPE, *signature.image.shape)],
        "outputs": [_tensor(output, OUTPUT_DATATYPE, len(signature.labels)) for output in OUTPUTS],
    }


def _tensor(name: str, datatype: str, *axes: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, *axes]}
