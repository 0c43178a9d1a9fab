"""The image tensor of a request, UINT8 (N, C, H, W), read from JSON numbers or from bytes."""

import math
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.runtime.signature import INPUT

SEEN = 60  # characters of a wrong value that an error message shows


Shape = tuple[int, int, int]  # of one image, (C, H, W)


def image_shape(shape: Any, image: Shape) -> tuple[int, ...]:
    """Return a request's shape, (N, C, H, W) with N at least 1, of images of shape `image`.

    Raises:
        InvalidInput: it is a different shape, or not a shape.
    """
    whole = isinstance(shape, list) and all(type(axis) is int for axis in shape)
    if not whole or tuple(shape[1:]) != image or shape[0] < 1:
        raise _wrong_shape(shape, image)
    return tuple(shape)


def images_from_json(data: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return JSON numbers as images (N, C, H, W).

    Args:
        data: integers from 0 to 255 in row-major order, as one list, or nested like the shape.
        shape: (N, C, H, W), as `image_shape` returns it.

    Raises:
        InvalidInput: there are too few or too many numbers, or a value is not such a number.
    """
    if not isinstance(data, list):
        raise InvalidInput(
            f"the data of {INPUT!r}: expected a list of numbers, got {shorten(data)}"
        )
    values = _flatten(data, shape) if data and isinstance(data[0], list) else data
    if len(values) != math.prod(shape):
        raise InvalidInput(
            f"the data of {INPUT!r} has {len(values):,} numbers, its shape {list(shape)} needs "
            f"{math.prod(shape):,}"
        )
    return np.frombuffer(_as_bytes(values), np.uint8).reshape(shape)  # (N, C, H, W)


def images_from_bytes(content: bytes, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the images (N, C, H, W) that start at offset in a body, without a copy."""
    count = math.prod(shape)
    return np.frombuffer(content, np.uint8, count, offset).reshape(shape)  # (N, C, H, W)


def shorten(value: Any) -> str:
    """Return a client's value for an error message, cut to 60 characters."""
    text = repr(_start(value, SEEN))
    return text if len(text) <= SEEN else f"{text[:SEEN]}..."


def _start(value: Any, most: int) -> Any:
    """Return so much of a value that the first `most` characters of its `repr` are the same.

    The `repr` of millions of numbers takes seconds, in which no other request is answered.
    """
    match value:
        case list():
            return [_start(entry, most - 1) for entry in value[:most]]
        case dict():
            return {key: _start(entry, most - 1) for key, entry in islice(value.items(), most)}
        case str():
            return value[:most]
        case _:
            return value


def _flatten(data: list[Any], shape: tuple[int, ...]) -> Sequence[Any]:
    """Return the elements of lists, which must be nested like shape."""
    lists: list[Any] = data
    for axis, length in enumerate(shape[1:], start=1):
        if set(map(type, lists)) != {list} or set(map(len, lists)) != {length}:
            raise InvalidInput(
                f"the data of {INPUT!r} is nested unevenly: at axis {axis} every list must have "
                f"{length} elements, as its shape {list(shape)} says; or send one flat list"
            )
        lists = list(chain.from_iterable(lists))
    return lists


def _as_bytes(values: Sequence[Any]) -> bytes:
    try:
        content = bytes(values)
    except (TypeError, ValueError):
        raise _wrong_value(values) from None
    # bytes() accepts true and false as 1 and 0. To write the numbers as JSON and search for the
    # letter that both contain takes a fifth of the time of a look at each number's type.
    if b"e" in orjson.dumps(values):
        raise _wrong_value(values)
    return content


def _wrong_value(values: Sequence[Any]) -> InvalidInput:
    index, value = next(
        (index, value)
        for index, value in enumerate(values)
        if type(value) is not int or not 0 <= value <= 255
    )
    return InvalidInput(
        f"the data of {INPUT!r} at index {index}: expected an integer from 0 to 255, got "
        f"{shorten(value)}"
    )


def _wrong_shape(shape: Any, image: Shape) -> InvalidInput:
    expected = ", ".join(map(str, image))
    return InvalidInput(
        f"the shape of {INPUT!r}: expected [N, {expected}], got {shorten(shape)}; N is the number "
        f"of images, at least 1; one image is [1, {expected}]"
    )
