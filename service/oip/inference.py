"""Run an inference request of the Open Inference Protocol, over HTTP or gRPC."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.inference.served_model import ServedModel
from service.oip.inference_request import InferenceRequest
from service.runtime.onnx_model import OnnxModel
from service.telemetry.request_timing import RequestTiming

# A response of so many numbers is written on the event loop: too little for the switch to a thread.
INLINE_RESPONSE_NUMBERS = 640

Response = TypeVar("Response")
Write = Callable[[OnnxModel, InferenceRequest, Sequence[NDArray[np.float32]]], Response]


async def run(
    served: ServedModel, request: InferenceRequest, timing: RequestTiming, write: Write[Response]
) -> Response:
    """Run a request, and return the response that `write` makes of its outputs, (N, K) each.

    Raises:
        Exception: as in `ServedModel.infer`.
    """
    names = [output.name for output in request.outputs]
    arrays = await served.infer(request.images, names, timing)  # (N, K) each
    if len(request.images) * len(served.model.labels) <= INLINE_RESPONSE_NUMBERS:
        return write(served.model, request, arrays)
    return await asyncio.to_thread(write, served.model, request, arrays)
