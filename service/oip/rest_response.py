"""The inference response of the Open Inference Protocol, as JSON with binary tensors.

Sources: the protocol's `inference_rest.md`, "Inference Response JSON Object"; Triton's extensions
"Binary tensor data" and "Classification".
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.http.responses import Answer
from service.inference.results import most_probable
from service.oip.protocol import OUTPUT_DATATYPE
from service.oip.rest_request import HEADER_LENGTH, InferenceRequest, RequestedOutput
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
    data: Any
    if output.classes is None:
        kind, shape, data = OUTPUT_DATATYPE, list(array.shape), array.ravel()  # (N * K,)
    else:
        rows = [_best(row, output.classes, labels) for row in array]
        kind, shape, data = "BYTES", [len(rows), len(rows[0])], list(chain.from_iterable(rows))
    content = {"name": output.name, "datatype": kind, "shape": shape}
    if not output.binary:
        return {**content, "data": data}
    tensors.append(_strings(data) if output.classes else _floats(data))
    return {**content, "parameters": {"binary_data_size": len(tensors[-1])}}


def _best(values: NDArray[np.float32], count: int, labels: Sequence[str]) -> list[str]:
    """Return the count highest of values (K,), each in Triton's format `value:index:label`."""
    best = most_probable(values, count)
    return [f"{values[index]:f}:{index}:{labels[index]}" for index in best]


def _floats(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f4", copy=False).tobytes()


def _strings(texts: Sequence[str]) -> bytes:
    """Return each text in UTF-8 after its length, 4 bytes, little-endian."""
    encoded = [text.encode() for text in texts]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
