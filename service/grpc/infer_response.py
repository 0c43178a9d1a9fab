"""The inference response of the Open Inference Protocol over gRPC.

Source: the protocol's `inference_grpc.md`, "ModelInferResponse".
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.grpc.messages import varint
from service.grpc.open_inference_pb2 import ModelInferResponse
from service.oip.inference_request import HEAD_CACHE_SIZE, InferenceRequest
from service.oip.output_tensors import OutputTensor, output_tensor
from service.oip.protocol import OUTPUT_DATATYPE
from service.runtime.onnx_model import OnnxModel

FLOAT_BYTES = 4
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
    identity = request.identity or ""
    if request.outputs[0].binary and not any(output.classes for output in request.outputs):
        names = tuple(output.name for output in request.outputs)
        head, tag = _before_floats(model.name, model.version, identity, names, arrays[0].shape)
        raw = [array.astype("<f4", copy=False).tobytes() for array in arrays]
        return head + b"".join(tag + content for content in raw)
    tensors = [
        output_tensor(output, array, model.labels)
        for output, array in zip(request.outputs, arrays, strict=True)
    ]
    described = tuple(
        (output.name, tensor.datatype, *tensor.shape)
        for output, tensor in zip(request.outputs, tensors, strict=True)
    )
    response = _described(model.name, model.version, identity, described)
    if request.outputs[0].binary:
        response.raw_output_contents.extend(tensor.raw() for tensor in tensors)
    else:
        for entry, tensor in zip(response.outputs, tensors, strict=True):
            _set_contents(entry, tensor)
    content: bytes = response.SerializeToString()
    return content


@lru_cache(HEAD_CACHE_SIZE)
def _before_floats(
    name: str, version: str, identity: str, outputs: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[bytes, bytes]:
    """Return what comes before the raw contents of outputs of a shape, and before each of them.

    Raw contents end a response. What comes before is the same for all requests of one shape.
    """
    described = tuple((output, OUTPUT_DATATYPE, *shape) for output in outputs)
    head: bytes = _described(name, version, identity, described).SerializeToString()
    return head, RAW_OUTPUT_TAG + varint(FLOAT_BYTES * math.prod(shape))


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
