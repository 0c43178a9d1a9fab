"""The inference request of the Open Inference Protocol over gRPC.

Source: the protocol's `inference_grpc.md`, "ModelInferRequest".
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.grpc.open_inference_pb2 import ModelInferRequest
from service.oip.inference_request import (
    INPUT_NAME,
    InferenceRequest,
    only_input,
    read_input,
    read_outputs,
)
from service.oip.json_tensors import Shape, images_from_bytes, images_from_json
from service.oip.protocol import OUTPUTS
from service.runtime.signature import INPUT

# Of more, an error names these at most, or says which of them is there twice.
MOST_INPUTS, MOST_OUTPUTS = 20, len(OUTPUTS) + 1

# Elements of a typed tensor that are worth the switch to a thread: about 0.1 ms.
INLINE_NUMBERS = 16 * 1024


async def read_request(request: ModelInferRequest, image: Shape) -> InferenceRequest:
    """Return the parsed request; its outputs are binary, that is raw, if its input is.

    Args:
        request: the message.
        image: shape (C, H, W) of the images that the model takes.

    Raises:
        InvalidInput: the request does not follow the protocol, or asks for something that the
            network does not have.
    """
    tensor = only_input([_described(entry) for entry in islice(request.inputs, MOST_INPUTS)])
    shape = read_input(tensor, image)
    raw = len(request.raw_input_contents) > 0
    contents = request.inputs[0].contents
    if raw:
        images = _raw_images(request, shape)
    elif len(contents.uint_contents) <= INLINE_NUMBERS:
        images = _typed_images(contents.uint_contents, shape)
    else:
        images = await asyncio.to_thread(_typed_images, contents.uint_contents, shape)
    wanted = [
        {"name": entry.name, "parameters": _values(entry.parameters)}
        for entry in islice(request.outputs, MOST_OUTPUTS)
    ]
    return InferenceRequest(request.id or None, images, read_outputs(wanted, raw))


def _raw_images(request: ModelInferRequest, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    contents = request.raw_input_contents
    if len(contents) != 1:
        raise InvalidInput(f"raw_input_contents: expected one, of {INPUT!r}, got {len(contents):,}")
    if request.inputs[0].HasField("contents"):
        raise InvalidInput(
            f"{INPUT_NAME} has both contents and raw_input_contents; expected exactly one of them"
        )
    if len(contents[0]) != math.prod(shape):
        raise InvalidInput(
            f"the raw_input_contents of {INPUT!r} have {len(contents[0]):,} bytes, its shape "
            f"{list(shape)} needs {math.prod(shape):,}"
        )
    return images_from_bytes(contents[0], 0, shape)


def _typed_images(numbers: Iterable[int], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    values = list(numbers)
    if not values:
        raise InvalidInput(
            f"{INPUT_NAME} has neither uint_contents nor raw_input_contents; expected exactly one "
            "of them"
        )
    return images_from_json(values, shape)


def _described(entry: ModelInferRequest.InferInputTensor) -> Mapping[str, Any]:
    return {
        "name": entry.name,
        "datatype": entry.datatype,
        "shape": list(entry.shape),
        "parameters": _values(entry.parameters),
    }


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of parameters; one without a value counts as not sent."""
    found = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(parameter, kind)
    return found
