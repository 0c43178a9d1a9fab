"""The image tensor of a request: UINT8 (N, 1, 28, 28), from JSON numbers or from bytes."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.runtime.metadata import SIDE
from service.runtime.onnx_model import INPUT

IMAGE_SHAPE = (1, SIDE, SIDE)
IMAGE_BYTES = math.prod(IMAGE_SHAPE)
SEEN = 60  # characters of a wrong value that an error repeats


def image_shape(shape: Any) -> tuple[int, ...]:
    """Return a request's shape, (N, 1, 28, 28) with N of at least 1.

    Raises:
        InvalidInput: it is another one, or none.
    """
    whole = isinstance(shape, list) and all(type(axis) is int for axis in shape)
    if not whole or len(shape) != 1 + len(IMAGE_SHAPE) or tuple(shape[1:]) != IMAGE_SHAPE:
        raise _wrong_shape(shape)
    if shape[0] < 1:
        raise _wrong_shape(shape)
    return tuple(shape)


def images_from_json(data: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Turn JSON numbers into images.

    Args:
        data: whole numbers from 0 to 255 in row-major order, as one list, or nested as the
            shape is.
        shape: (N, 1, 28, 28), as `image_shape` returns it.

    Returns:
        Images (N, 1, 28, 28).

    Raises:
        InvalidInput: the numbers are too few or too many, or a value is none of them.
    """
    if not isinstance(data, list):
        raise InvalidInput(f"the data of {INPUT!r} is {shorten(data)}, a list of numbers is right")
    values = _flatten(data, shape) if data and isinstance(data[0], list) else data
    if len(values) != math.prod(shape):
        raise InvalidInput(
            f"the data of {INPUT!r} has {len(values):,} numbers, its shape {list(shape)} needs "
            f"{math.prod(shape):,}"
        )
    return np.frombuffer(_as_bytes(values), np.uint8).reshape(shape)  # (N, 1, 28, 28)


def images_from_bytes(content: bytes, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the images (N, 1, 28, 28) that lie in a body from offset on; nothing is copied."""
    count = math.prod(shape)
    return np.frombuffer(content, np.uint8, count, offset).reshape(shape)  # (N, 1, 28, 28)


def shorten(value: Any) -> str:
    """Write a value that a client sent for an error message, in short."""
    text = repr(value)
    return text if len(text) <= SEEN else f"{text[:SEEN]}..."


def _flatten(data: list[Any], shape: tuple[int, ...]) -> Sequence[Any]:
    """Flatten lists that must be nested as shape is."""
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
    # bytes() takes true and false as 1 and 0. Looking for the letter that both have, in the
    # numbers written as JSON again, takes a fifth of what looking at each number's type takes.
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
        f"the data of {INPUT!r} has {shorten(value)} at index {index}, a whole number from 0 to "
        "255 is right"
    )


def _wrong_shape(shape: Any) -> InvalidInput:
    expected = ", ".join(map(str, IMAGE_SHAPE))
    return InvalidInput(
        f"the shape of {INPUT!r} is {shorten(shape)}, [N, {expected}] is right, N being the number "
        f"of images, at least 1; one image is [1, {expected}]"
    )
