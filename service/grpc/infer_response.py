"""The inference response of the Open Inference Protocol over gRPC.

Source: the protocol's `inference_grpc.md`, "ModelInferResponse".
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.grpc.messages import varint
from service.grpc.open_inference_pb2 import ModelInferResponse
from service.oip.inference_request import InferenceRequest
from service.oip.output_tensors import OutputTensor, output_tensor
from service.runtime.onnx_model import OnnxModel

# Raw contents end a response, and what comes before is the same for all requests of one shape.
HEAD_CACHE_SIZE = 128
RAW_OUTPUT_TAG = varint(ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | 2)


def write_response(
    model: OnnxModel, request: InferenceRequest, arrays: Sequence[NDArray[np.float32]]
) -> bytes:
    """Return the response to a request, as raw contents if the request had them.

    Args:
        model: the model that computed the outputs.
        request: the outputs requested.
        arrays: the outputs, (N, K) each.
    """
    tensors = [
        output_tensor(output, array, model.labels)
        for output, array in zip(request.outputs, arrays, strict=True)
    ]
    described = tuple(
        (output.name, tensor.datatype, *tensor.shape)
        for output, tensor in zip(request.outputs, tensors, strict=True)
    )
    if request.outputs[0].binary:
        identity = request.identity or ""
        parts = [_head(model.name, model.version, identity, described)]
        for tensor in tensors:
            raw = tensor.raw()
            parts += (RAW_OUTPUT_TAG, varint(len(raw)), raw)
        return b"".join(parts)
    response = _described(model.name, model.version, request.identity or "", described)
    for entry, tensor in zip(response.outputs, tensors, strict=True):
        _set_contents(entry, tensor)
    content: bytes = response.SerializeToString()
    return content


@lru_cache(HEAD_CACHE_SIZE)
def _head(name: str, version: str, identity: str, outputs: tuple[tuple[object, ...], ...]) -> bytes:
    content: bytes = _described(name, version, identity, outputs).SerializeToString()
    return content


def _described(
    name: str, version: str, identity: str, outputs: tuple[tuple[object, ...], ...]
) -> ModelInferResponse:
    """Return a response without contents; each output has a name, a datatype and a shape."""
    response = ModelInferResponse(model_name=name, model_version=version, id=identity)
    for output, datatype, *shape in outputs:
        response.outputs.add(name=output, datatype=datatype, shape=shape)
    return response


def _set_contents(entry: ModelInferResponse.InferOutputTensor, tensor: OutputTensor) -> None:
    if isinstance(tensor.data, list):
        entry.contents.bytes_contents.extend(text.encode() for text in tensor.data)
    else:
        entry.contents.fp32_contents.extend(tensor.data.tolist())
