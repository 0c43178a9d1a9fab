"""Parsing of clients' JSON with orjson, which blocks all other threads of a worker meanwhile."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from service.errors import InvalidInput

# Ten megabytes of empty lists take orjson two seconds, most of them in Python's garbage collector;
# ten megabytes of images take a tenth. An image of W columns has at most one list or object in
# 2 W bytes.
BYTES_A_LIST = 40
FEW = 10_000  # lists and objects that a body of any length may have

# Nor does an image have strings, or numbers with a fraction or an exponent, which take 24 times the
# memory of their bytes. Bodies up to SHORT_BYTES are too short to do harm.
OTHERS = {b'"': "quotation marks", b".": "points", b"e": "letters e", b"E": "letters E"}
SHORT_BYTES = 64 * 1024

# Long bodies are parsed one after the other, because parsing takes up to ten times their bytes.
# Short bodies have their own thread, and do not wait for long ones.
LONG, SHORT = ThreadPoolExecutor(1, "long json"), ThreadPoolExecutor(1, "short json")

# JSON's types, by the Python types that orjson returns.
JSON_TYPE_NAMES = {
    bool: "true or false",
    dict: "an object",
    float: "a number with a fraction or exponent",
    int: "an integer",
    list: "a list",
    str: "a string",
    type(None): "null",
}

Read = TypeVar("Read")


def read_json(body: bytes, length: int | None = None, width: int = BYTES_A_LIST) -> Any:
    """Return the parsed JSON.

    Args:
        body: a body that begins with the JSON.
        length: bytes of the JSON; None for the whole body.
        width: numbers in a row of an image.

    Raises:
        InvalidInput: the body is not JSON, has more lists and objects than images of its length,
            or too many strings, fractions or exponents.
    """
    length = len(body) if length is None else length
    text = body if length == len(body) else memoryview(body)[:length]
    if length > SHORT_BYTES:
        _check_values(body, length, min(BYTES_A_LIST, 2 * width))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None


async def read_in_thread(read: Callable[..., Read], body: bytes, *arguments: Any) -> Read:
    """Return the result of read on a body, run in the thread for long or for short bodies."""
    loop = asyncio.get_running_loop()
    if len(body) <= SHORT_BYTES:
        return await loop.run_in_executor(SHORT, read, body, *arguments)
    return await loop.run_in_executor(LONG, _without_collector, read, body, *arguments)


def _without_collector(read: Callable[..., Read], *arguments: Any) -> Read:
    """Pause the garbage collector: visiting a million lists blocks all other threads."""
    gc.disable()
    try:
        return read(*arguments)
    finally:
        gc.enable()


def _check_values(body: bytes, length: int, bytes_a_list: int) -> None:
    """Count lists, objects and other values of JSON without parsing it."""
    opened = body.count(b"[", 0, length) + body.count(b"{", 0, length)
    most = FEW + length // bytes_a_list
    if opened > most:
        raise InvalidInput(
            f"the body has {opened:,} brackets that open a list or object, expected at most "
            f"{most:,} in {length:,} bytes"
        )
    for mark, name in OTHERS.items():
        if (found := body.count(mark, 0, length)) > FEW:
            raise InvalidInput(f"the body has {found:,} {name}, expected at most {FEW:,}")
