"""The inference request of the Open Inference Protocol over HTTP: JSON with binary tensors.

Sources: the protocol's `inference_rest.md`, "Inference Request JSON Object"; Triton's extension
"Binary tensor data" (with its raw binary request).
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
from service.oip.inference_request import (
    HEAD_CACHE_BYTES,
    HEAD_CACHE_SIZE,
    INPUT_NAME,
    InferenceRequest,
    RequestedOutput,
    all_outputs,
    only_input,
    optional,
    read_input,
    read_outputs,
    required,
)
from service.oip.json_tensors import Shape, images_from_bytes, images_from_json, shorten
from service.runtime.signature import INPUT

HEADER_LENGTH = "Inference-Header-Content-Length"

LENGTH = re.compile("[0-9]{1,18}")


@dataclass(frozen=True)
class _Head:
    """The content of a request's JSON."""

    identity: str | None
    shape: tuple[int, ...]  # (N, C, H, W)
    size: int | None  # bytes of the binary tensor after the JSON
    data: Any  # the numbers, if there is no binary tensor
    outputs: Sequence[RequestedOutput]


def parse_request(body: bytes, header_length: str | None, image: Shape) -> InferenceRequest:
    """Return the parsed request.

    Args:
        body: the JSON object, followed by binary tensors if there are any.
        header_length: the header Inference-Header-Content-Length, if it was sent: the bytes of
            the JSON object. If 0, the whole body is the images, and all outputs are binary.
        image: shape (C, H, W) of the images that the model takes.

    Raises:
        InvalidInput: the request does not follow the protocol, or asks for something that the
            network does not have.
    """
    length = _json_length(body, header_length)
    if length == 0 and header_length is not None:
        return InferenceRequest(None, _raw_images(body, image), all_outputs(binary=True))
    if length < len(body) and length <= HEAD_CACHE_BYTES:
        head = _parse_head_cached(body[:length], image)
    else:
        head = _parse_head(body, length, image)
    return InferenceRequest(head.identity, _images(head, body, length), head.outputs)


def _json_length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not LENGTH.fullmatch(header_length) or int(header_length) > len(body):
        raise InvalidInput(
            f"{HEADER_LENGTH}: expected the number of the body's bytes that are JSON, at most all "
            f"{len(body):,}, got {shorten(header_length)}"
        )
    return int(header_length)


def _parse_head(body: bytes, length: int, image: Shape) -> _Head:
    content = _parse_json(body, length, image[2])
    parameters = optional(content, "parameters", dict, "the request", {})
    binary = optional(parameters, "binary_data_output", bool, "the parameters object", False)
    outputs = [] if content.get("outputs") is None else _entries(content, "outputs")
    return _Head(
        optional(content, "id", str, "the request", None),
        *_input(content, image),
        read_outputs(outputs, binary),
    )


@lru_cache(HEAD_CACHE_SIZE)
def _parse_head_cached(text: bytes, image: Shape) -> _Head:
    return _parse_head(text, len(text), image)


def _parse_json(body: bytes, length: int, width: int) -> Mapping[str, Any]:
    try:
        content = read_json(body, length, width)
    except InvalidInput as error:
        raise InvalidInput(f"{error}; binary tensors after it need {HEADER_LENGTH}") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"the body: expected an object with inputs, got {shorten(content)}")
    return content


def _raw_images(body: bytes, image: Shape) -> NDArray[np.uint8]:
    size = math.prod(image)
    count, rest = divmod(len(body), size)
    if rest or not count:
        raise InvalidInput(
            f"the body is one tensor, {INPUT!r}, because {HEADER_LENGTH} is 0: expected "
            f"{size} bytes for each image, and at least one image, got {len(body):,} bytes"
        )
    return images_from_bytes(body, 0, (count, *image))


def _input(content: Mapping[str, Any], image: Shape) -> tuple[tuple[int, ...], int | None, Any]:
    """Return the input's shape, binary_data_size and data; one of the last two is None."""
    entry = only_input(_entries(content, "inputs"))
    shape = read_input(entry, image)
    parameters = optional(entry, "parameters", dict, INPUT_NAME, {})
    size = optional(
        parameters, "binary_data_size", int, f"the parameters object of {INPUT!r}", None
    )
    if (size is None) == (entry.get("data") is None):
        raise InvalidInput(
            f"{INPUT_NAME} has {'neither data nor' if size is None else 'both data and'} "
            "binary_data_size; expected exactly one of them"
        )
    return shape, size, entry.get("data")


def _images(head: _Head, body: bytes, offset: int) -> NDArray[np.uint8]:
    """Return the images (N, C, H, W); offset is the end of the JSON."""
    if head.size is None:
        _check_sizes(0, 0, len(body) - offset)
        return images_from_json(head.data, head.shape)
    _check_sizes(head.size, math.prod(head.shape), len(body) - offset)
    return images_from_bytes(body, offset, head.shape)


def _check_sizes(declared: int, needed: int, found: int) -> None:
    """Compare a tensor's binary_data_size with its shape and with the bytes after the JSON."""
    if declared != needed:
        raise InvalidInput(
            f"the binary_data_size of {INPUT!r} is {shorten(declared)}, its shape needs {needed:,}"
        )
    if found != declared:
        raise InvalidInput(
            f"{found:,} bytes follow the JSON, the inputs need {declared:,}; {HEADER_LENGTH} says "
            "where the JSON ends"
        )


def _entries(content: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries: list[Any] = required(content, key, list, "the request")
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidInput(f"{key}: expected objects with a name, got {shorten(entry)}")
    return entries
