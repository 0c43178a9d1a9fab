"""The inference request of the Open Inference Protocol over gRPC.

Source: the protocol's `inference_grpc.md`, "ModelInferRequest".
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.grpc.messages import read_message, varint
from service.grpc.open_inference_pb2 import ModelInferRequest
from service.oip.inference_request import (
    HEAD_CACHE_BYTES,
    HEAD_CACHE_SIZE,
    INPUT_NAME,
    InferenceRequest,
    RequestedOutput,
    only_input,
    read_input,
    read_outputs,
)
from service.oip.json_tensors import Shape, images_from_bytes, images_from_json
from service.oip.protocol import OUTPUTS
from service.runtime.signature import INPUT

# Of more, an error names these at most, or says which of them is there twice.
MOST_INPUTS, MOST_AXES, MOST_OUTPUTS = 20, 30, len(OUTPUTS) + 1

# Elements of a typed tensor that are worth the switch to a thread: about 0.1 ms.
INLINE_NUMBERS = 16 * 1024

RAW_INPUT_TAG = varint(ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2)


class ModelName(NamedTuple):
    """The model that a request names."""

    name: str
    version: str | None


class _Head(NamedTuple):
    """All of a request, without an id, but its raw contents; and what it means for a model."""

    content: bytes  # up to the raw contents
    model: ModelName
    image: Shape
    shape: tuple[int, ...]  # (N, C, H, W)
    outputs: Sequence[RequestedOutput]


class RequestReader:
    """Reads the requests of a worker."""

    def __init__(self) -> None:
        """Start with no heads."""
        self._heads: dict[int, _Head] = {}  # by the length of the whole request

    def begin(self, content: bytes) -> tuple[ModelName, "_Head | ModelInferRequest"]:
        """Return the model that a request names, and the rest of it for `finish`.

        Raises:
            InvalidInput: the content is not a ModelInferRequest message.
        """
        head = self._heads.get(len(content))
        if head is not None and content.startswith(head.content):
            return head.model, head
        request = read_message(ModelInferRequest, content)
        return ModelName(request.model_name, request.model_version or None), request

    async def finish(
        self, content: bytes, begun: "_Head | ModelInferRequest", image: Shape
    ) -> InferenceRequest:
        """Return the parsed request; its outputs are binary, that is raw, if its input is.

        Args:
            content: the request.
            begun: what `begin` returned for it.
            image: shape (C, H, W) of the images that the model takes.

        Raises:
            InvalidInput: the request does not follow the protocol, or asks for something that the
                network does not have.
        """
        if isinstance(begun, _Head):
            if begun.image == image:
                images = images_from_bytes(content, len(begun.content), begun.shape)
                return InferenceRequest(None, images, begun.outputs)
            return await self._read(content, read_message(ModelInferRequest, content), image)
        return await self._read(content, begun, image)

    async def _read(
        self, content: bytes, request: ModelInferRequest, image: Shape
    ) -> InferenceRequest:
        tensor = only_input([_described(entry) for entry in islice(request.inputs, MOST_INPUTS)])
        shape = read_input(tensor, image)
        raw = len(request.raw_input_contents) > 0
        wanted = [
            {"name": entry.name, "parameters": _values(entry.parameters)}
            for entry in islice(request.outputs, MOST_OUTPUTS)
        ]
        outputs = read_outputs(wanted, raw)
        contents = request.inputs[0].contents
        numbers = contents.uint_contents
        if raw:
            images = _raw_images(request, shape)
            self._cache(content, request, image, shape, outputs)
        elif others := {field.name for field, _ in contents.ListFields()} - {"uint_contents"}:
            raise InvalidInput(
                f"{INPUT_NAME} has {', '.join(sorted(others))}; expected uint_contents alone"
            )
        elif len(numbers) <= INLINE_NUMBERS:
            images = _typed_images(numbers, shape)
        else:
            images = await asyncio.to_thread(_typed_images, numbers, shape)
        return InferenceRequest(request.id or None, images, outputs)

    def _cache(
        self,
        content: bytes,
        request: ModelInferRequest,
        image: Shape,
        shape: tuple[int, ...],
        outputs: Sequence[RequestedOutput],
    ) -> None:
        """Keep a request's head if nothing but the raw contents follows it."""
        size = math.prod(shape)
        head = content[: len(content) - size]
        if request.id or len(head) > HEAD_CACHE_BYTES:
            return
        request.ClearField("raw_input_contents")
        if head != request.SerializeToString() + RAW_INPUT_TAG + varint(size):
            return
        if len(self._heads) == HEAD_CACHE_SIZE:
            self._heads.clear()
        model = ModelName(request.model_name, request.model_version or None)
        self._heads[len(content)] = _Head(head, model, image, shape, outputs)


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
        "shape": entry.shape[:MOST_AXES],
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
