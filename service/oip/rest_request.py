"""An inference request of the Open Inference Protocol, read and checked.

Sources: the protocol's `inference_rest.md`, "Inference Request JSON Object"; Triton's extensions
"Binary tensor data" (with its raw binary request) and "Classification".
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.http.json_body import read_json
from service.oip.json_tensors import (
    IMAGE_BYTES,
    IMAGE_SHAPE,
    image_shape,
    images_from_bytes,
    images_from_json,
    shorten,
)
from service.runtime.onnx_model import INPUT, LOGITS, PROBABILITIES

HEADER_LENGTH = "Inference-Header-Content-Length"

# A client that sends binary tensors sends the same JSON before them again and again: so many of
# them are remembered as they were understood, if they have no more bytes.
HEAD_CACHE_SIZE, HEAD_CACHE_BYTES = 128, 1024

LENGTH = re.compile("[0-9]{1,18}")
DATATYPE = "UINT8"
OUTPUTS = (LOGITS, PROBABILITIES)
KINDS = {
    bool: "true or false",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "text",
}


@dataclass(frozen=True)
class RequestedOutput:
    """An output as a client wants it."""

    name: str
    binary: bool  # behind the JSON rather than in it
    classes: int | None = None  # that many best classes as text, instead of the tensor


@dataclass(frozen=True)
class InferenceRequest:
    """What a client asks the network."""

    identity: str | None
    images: NDArray[np.uint8]  # (N, 1, 28, 28)
    outputs: Sequence[RequestedOutput]


@dataclass(frozen=True)
class _Head:
    """What a request's JSON says."""

    identity: str | None
    shape: tuple[int, ...]  # (N, 1, 28, 28)
    size: int | None  # of the binary tensor behind it
    data: Any  # the numbers, where there is none
    outputs: Sequence[RequestedOutput]


def parse_request(body: bytes, header_length: str | None) -> InferenceRequest:
    """Read a request.

    Args:
        body: the JSON object, followed by binary tensors if there are any.
        header_length: the header Inference-Header-Content-Length, if it was sent: the bytes of
            the JSON object. 0 makes the whole body the images, and all outputs binary.

    Raises:
        InvalidInput: the request is not what the protocol asks for, or asks for what the
            network does not have.
    """
    length = _json_length(body, header_length)
    if length == 0 and header_length is not None:
        return InferenceRequest(None, _raw_images(body), _all_outputs(binary=True))
    if length < len(body) and length <= HEAD_CACHE_BYTES:
        head = _remembered(body[:length])
    else:
        head = _parse_head(body, length)
    return InferenceRequest(head.identity, _images(head, body, length), head.outputs)


def _json_length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not LENGTH.fullmatch(header_length) or int(header_length) > len(body):
        raise InvalidInput(
            f"{HEADER_LENGTH} is {shorten(header_length)}, the number of the body's bytes that are "
            f"JSON is right, at most all {len(body):,}"
        )
    return int(header_length)


def _parse_head(body: bytes, length: int) -> _Head:
    content = _parse_json(body, length)
    parameters = _optional(content, "parameters", dict, "the request", {})
    binary = _optional(parameters, "binary_data_output", bool, "the parameters object", False)
    return _Head(
        _optional(content, "id", str, "the request", None),
        *_input(content),
        _outputs(content, binary) or _all_outputs(binary),
    )


@lru_cache(HEAD_CACHE_SIZE)
def _remembered(text: bytes) -> _Head:
    return _parse_head(text, len(text))


def _parse_json(body: bytes, length: int) -> Mapping[str, Any]:
    try:
        content = read_json(body, length)
    except InvalidInput as error:
        raise InvalidInput(f"{error}; binary tensors behind it need {HEADER_LENGTH}") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"the body is {shorten(content)}, an object with inputs is right")
    return content


def _raw_images(body: bytes) -> NDArray[np.uint8]:
    count, rest = divmod(len(body), IMAGE_BYTES)
    if rest or not count:
        raise InvalidInput(
            f"the body is one tensor, {INPUT!r}, as {HEADER_LENGTH} is 0; it has {len(body):,} "
            f"bytes, {IMAGE_BYTES} for each image, and at least one image, are right"
        )
    return images_from_bytes(body, 0, (count, *IMAGE_SHAPE))


def _input(content: Mapping[str, Any]) -> tuple[tuple[int, ...], int | None, Any]:
    """Read the one input's shape, binary_data_size and data, of which one is None."""
    entry = _only_input(content)
    where = f"the input {INPUT!r}"
    datatype = _required(entry, "datatype", str, where)
    if datatype != DATATYPE:
        raise InvalidInput(f"the datatype of {INPUT!r} is {shorten(datatype)}, {DATATYPE} is right")
    shape = image_shape(_required(entry, "shape", list, where))
    parameters = _optional(entry, "parameters", dict, where, {})
    _refuse_shared_memory(parameters, where)
    size = _optional(
        parameters, "binary_data_size", int, f"the parameters object of {INPUT!r}", None
    )
    if (size is None) == (entry.get("data") is None):
        raise InvalidInput(
            f"{where} has {'neither data nor' if size is None else 'both data and'} "
            "binary_data_size; one of them is right"
        )
    return shape, size, entry.get("data")


def _images(head: _Head, body: bytes, offset: int) -> NDArray[np.uint8]:
    """Return the images; offset is where the JSON ends."""
    if head.size is None:
        _check_sizes(0, 0, len(body) - offset)
        return images_from_json(head.data, head.shape)
    _check_sizes(head.size, math.prod(head.shape), len(body) - offset)
    return images_from_bytes(body, offset, head.shape)


def _only_input(content: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = _entries(content, "inputs")
    names = [_required(entry, "name", str, "an input") for entry in entries]
    if names != [INPUT]:
        raise InvalidInput(f"the inputs are {shorten(names)}, one called {INPUT!r} is right")
    return entries[0]


def _check_sizes(said: int, needed: int, found: int) -> None:
    """Compare a tensor's binary_data_size with its shape and with the bytes behind the JSON."""
    if said != needed:
        raise InvalidInput(
            f"the binary_data_size of {INPUT!r} is {shorten(said)}, its shape needs {needed:,}"
        )
    if found != said:
        raise InvalidInput(
            f"{found:,} bytes follow the JSON, the inputs need {said:,}; {HEADER_LENGTH} says "
            "where the JSON ends"
        )


def _outputs(content: Mapping[str, Any], binary: bool) -> Sequence[RequestedOutput]:
    entries = [] if content.get("outputs") is None else _entries(content, "outputs")
    outputs = [_output(entry, binary) for entry in entries]
    names = [output.name for output in outputs]
    if len(set(names)) < len(names):
        raise InvalidInput(f"the outputs are {shorten(names)}, each at most once is right")
    return outputs


def _output(entry: Mapping[str, Any], binary: bool) -> RequestedOutput:
    name = _required(entry, "name", str, "an output")
    if name not in OUTPUTS:
        raise InvalidInput(f"there is no output {shorten(name)}: there are {', '.join(OUTPUTS)}")
    where = f"the output {name!r}"
    parameters = _optional(entry, "parameters", dict, where, {})
    _refuse_shared_memory(parameters, where)
    where = f"the parameters object of {name!r}"
    classes = _optional(parameters, "classification", int, where, None)
    if classes is not None and classes < 1:
        raise InvalidInput(
            f"the classification of {name!r} is {classes}, a number of classes from 1 on is right"
        )
    return RequestedOutput(name, _optional(parameters, "binary_data", bool, where, binary), classes)


def _all_outputs(binary: bool) -> Sequence[RequestedOutput]:
    return [RequestedOutput(name, binary) for name in OUTPUTS]


def _refuse_shared_memory(parameters: Mapping[str, Any], where: str) -> None:
    if parameters.get("shared_memory_region") is not None:
        raise InvalidInput(f"{where} is to be in shared memory, which is not served: send it here")


def _entries(content: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries: list[Any] = _required(content, key, list, "the request")
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidInput(f"{key} has {shorten(entry)}, objects with a name are right")
    return entries


def _required(content: Mapping[str, Any], key: str, kind: type[Any], where: str) -> Any:
    value = _optional(content, key, kind, where, None)
    if value is None:
        raise InvalidInput(f"{where} has no {key}: {KINDS[kind]} is right")
    return value


def _optional(
    content: Mapping[str, Any], key: str, kind: type[Any], where: str, default: Any
) -> Any:
    # KServe's SDK sends null for what it has not. (`in` is no call, as `get` would be.)
    value = content[key] if key in content else None  # noqa: SIM401
    if value is None:
        return default
    if type(value) is not kind:  # isinstance would take true for a whole number
        raise InvalidInput(f"{where} has {key} {shorten(value)}, {KINDS[kind]} is right")
    return value
