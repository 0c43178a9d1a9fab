"""`POST /predict`: images as JSON numbers."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import InvalidInput, UnsupportedType
from service.http.json_body import JSON_TYPE_NAMES, read_in_thread, read_json
from service.http.query import MODEL, read_query
from service.http.request_body import header, media_type, read_plain_body
from service.http.responses import json_response
from service.inference.data_plane import DataPlane
from service.signature import ImageSpec
from service.telemetry.request_timing import timing

JSON = "application/json"

# About 800 numbers, which are parsed in 0.1 ms. A larger body is worth the switch to a thread.
INLINE_PREDICT_BYTES = 4096


async def predict(request: Request) -> Response:
    """Serve `POST /predict`: images as JSON, uint8 N x C x H x W."""
    data_plane: DataPlane = request.app.state.data_plane
    name = read_query(request.scope["query_string"], (MODEL,)).get(MODEL)
    kind = media_type(header(request, b"content-type") or "")
    if kind != JSON:
        raise UnsupportedType(
            f"Content-Type {kind[:60] or '(none)'} is not served here: send {JSON}"
        )
    with data_plane.selected(name) as served:
        body = await read_plain_body(request, data_plane.settings.max_body_bytes)
        request_timing, spec = timing(request.scope), served.model.signature.image
        with request_timing.decoding():
            if len(body) <= INLINE_PREDICT_BYTES:
                images = read_images(body, spec)  # (N, C, H, W)
            else:
                images = await read_in_thread(read_images, body, spec)
        answer = await served.predict(images, request_timing)
    return json_response(answer)


def read_images(body: bytes, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return the images (N, C, H, W) of `{"images": [[[[...]]]]}`, N at least 1.

    Raises:
        InvalidInput: the body is not such JSON.
    """
    content = read_json(body, width=spec.width)
    if not isinstance(content, dict):
        raise InvalidInput(
            f'the body: expected {{"images": {_expected(spec)}}}, got {_kind(content)}'
        )
    if list(content) != ["images"]:
        keys = ", ".join(repr(key[:40]) for key in list(content)[:5]) or "none"
        raise InvalidInput(f"the body's keys: expected 'images' alone, got {keys}")
    return _array(content["images"], spec)


def _expected(spec: ImageSpec) -> str:
    return f"N x {spec} integers from 0 to 255"


def _array(images: Any, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return nested lists as an array; only JSON integers are accepted as integers.

    Images are converted one by one, so that other threads can run in between.
    """
    if wrong := _wrong_shape(images, spec):
        raise InvalidInput(f"images: expected {_expected(spec)}, got {wrong}")
    content = bytearray()
    for image in images:
        pixels = _pixels(image, spec)
        if pixels is None:
            raise InvalidInput(f"images: expected {_expected(spec)}, got {_wrong_content([image])}")
        content += pixels
    return np.frombuffer(content, np.uint8).reshape(-1, *spec.shape)  # (N, C, H, W)


def _pixels(image: Any, spec: ImageSpec) -> bytes | None:
    """Return the bytes of one image; None if it is not C x H x W integers from 0 to 255."""
    try:
        if len(image) != spec.channels or set(map(len, image)) != {spec.height}:
            return None
        rows = list(chain.from_iterable(image))
        numbers = list(chain.from_iterable(rows))
        if set(map(len, rows)) != {spec.width} or set(map(type, numbers)) != {int}:
            return None
        return bytes(numbers)
    except (TypeError, ValueError):  # not lists, or a number beyond 255
        return None


def _wrong_content(images: list[Any]) -> str:
    """Return what is wrong with images that have the expected shape, or are ragged."""
    if wrong := _wrong_kind(images):
        return wrong
    number = next((number for number in _numbers(images) if not 0 <= number <= 255), None)
    return "ragged lists" if number is None else f"the element {number}"


def _wrong_shape(images: Any, spec: ImageSpec) -> str:
    """Return what is wrong with the first list at each depth; empty if nothing is."""
    if not isinstance(images, list):
        return _kind(images)
    shape: list[int] = []
    inner: Any = images
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    expected = shape[0] > 0 and shape[1:] == list(spec.shape)
    return "" if expected else f"shape ({', '.join(map(str, shape[:8]))})"


def _wrong_kind(images: list[Any]) -> str:
    """Return which element is not an integer; empty if all are."""
    try:
        kinds = set(map(type, _numbers(images)))
    except TypeError:  # a number in place of a list
        return "ragged lists"
    if list in kinds:
        return "ragged lists"
    return "".join(
        f"an element that is {JSON_TYPE_NAMES[kind]}" for kind in sorted(kinds - {int}, key=str)[:1]
    )


def _numbers(images: list[Any]) -> Iterator[Any]:
    """Return the elements of lists nested four deep."""
    rows = chain.from_iterable(chain.from_iterable(images))
    return chain.from_iterable(rows)


def _kind(value: Any) -> str:
    return JSON_TYPE_NAMES[type(value)]


ROUTES = [Route("/predict", predict, methods=["POST"])]
