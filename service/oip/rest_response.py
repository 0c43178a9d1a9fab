"""The inference response of the Open Inference Protocol, as JSON with binary tensors.

Sources: the protocol's `inference_rest.md`, "Inference Response JSON Object"; Triton's extension
"Binary tensor data".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.http.responses import Answer
from service.oip.inference_request import InferenceRequest, RequestedOutput
from service.oip.output_tensors import output_tensor
from service.oip.rest_request import HEADER_LENGTH
from service.runtime.onnx_model import OnnxModel


def write_response(
    model: OnnxModel, request: InferenceRequest, arrays: Sequence[NDArray[np.float32]]
) -> Answer:
    """Return the response to a request, in the form that the client asked for.

    Args:
        model: the model that computed the outputs.
        request: the outputs requested.
        arrays: the outputs, (N, K) each.
    """
    content: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.identity is not None:
        content["id"] = request.identity
    tensors: list[bytes] = []  # after the JSON
    content["outputs"] = [
        _describe(output, array, model.labels, tensors)
        for output, array in zip(request.outputs, arrays, strict=True)
    ]
    # orjson writes the fewest digits that identify a float32, so that the client reads the same
    # number, to the last bit.
    text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    if not tensors:
        return Answer(text, "application/json")
    return Answer(
        b"".join([text, *tensors]),
        "application/octet-stream",
        headers={HEADER_LENGTH: str(len(text))},
    )


def _describe(
    output: RequestedOutput,
    array: NDArray[np.float32],
    labels: Sequence[str],
    tensors: list[bytes],
) -> dict[str, Any]:
    """Return one output with its data, or append the data to the binary tensors."""
    tensor = output_tensor(output, array, labels)
    content = {"name": output.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if not output.binary:
        return {**content, "data": tensor.data}
    tensors.append(tensor.raw())
    return {**content, "parameters": {"binary_data_size": len(tensors[-1])}}
