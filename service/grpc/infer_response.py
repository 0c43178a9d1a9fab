"""The inference response of the Open Inference Protocol over gRPC.

Source: the protocol's `inference_grpc.md`, "ModelInferResponse".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.grpc.open_inference_pb2 import ModelInferResponse
from service.oip.inference_request import InferenceRequest
from service.oip.output_tensors import output_tensor
from service.runtime.onnx_model import OnnxModel


def write_response(
    model: OnnxModel, request: InferenceRequest, arrays: Sequence[NDArray[np.float32]]
) -> bytes:
    """Return the response to a request, as raw contents if the request had them.

    Args:
        model: the model that computed the outputs.
        request: the outputs requested.
        arrays: the outputs, (N, K) each.
    """
    response = ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.identity or ""
    )
    for output, array in zip(request.outputs, arrays, strict=True):
        tensor = output_tensor(output, array, model.labels)
        entry = response.outputs.add(name=output.name, datatype=tensor.datatype, shape=tensor.shape)
        if output.binary:
            response.raw_output_contents.append(tensor.raw())
        elif isinstance(tensor.data, list):
            entry.contents.bytes_contents.extend(text.encode() for text in tensor.data)
        else:
            entry.contents.fp32_contents.extend(tensor.data.tolist())
    content: bytes = response.SerializeToString()
    return content
