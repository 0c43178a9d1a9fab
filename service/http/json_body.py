"""JSON of clients, read by orjson, which keeps everything else in a worker waiting meanwhile."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from service.errors import InvalidInput

# Ten megabytes of empty lists take orjson two seconds, of which Python's garbage collector spends
# most; of images, a tenth. An image has a list or object in 54 bytes at most.
BYTES_A_LIST = 40
FEW = 10_000  # lists and objects that a body of any length may have

# Nor does an image have texts, or numbers with a fraction or an exponent, which take 24 times the
# memory of their bytes. What is as short as this has no room for harm.
OTHERS = {b'"': "quotation marks", b".": "points", b"e": "letters e", b"E": "letters E"}
SHORT_BYTES = 64 * 1024

# One after the other, since long JSON takes up to ten times its bytes; what is short does not wait
# for it.
LONG, SHORT = ThreadPoolExecutor(1, "long json"), ThreadPoolExecutor(1, "short json")

Read = TypeVar("Read")


def read_json(body: bytes, length: int | None = None) -> Any:
    """Read JSON.

    Args:
        body: begins with it.
        length: how many bytes of the body it is; None for all of them.

    Raises:
        InvalidInput: it is none, or has more lists and objects than images of its length, or
            more of what images have none of.
    """
    length = len(body) if length is None else length
    text = body if length == len(body) else memoryview(body)[:length]
    if length > SHORT_BYTES:
        _check_values(body, length)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is no JSON: {error}") from None


async def read_in_thread(read: Callable[..., Read], body: bytes, *arguments: Any) -> Read:
    """Read a body in a thread: one for those that are long, another for those that are not."""
    loop = asyncio.get_running_loop()
    if len(body) <= SHORT_BYTES:
        return await loop.run_in_executor(SHORT, read, body, *arguments)
    return await loop.run_in_executor(LONG, _without_collector, read, body, *arguments)


def _without_collector(read: Callable[..., Read], *arguments: Any) -> Read:
    """Look for no garbage meanwhile: to go through a million lists stops all other threads."""
    gc.disable()
    try:
        return read(*arguments)
    finally:
        gc.enable()


def _check_values(body: bytes, length: int) -> None:
    """Count what JSON is made of, without making it."""
    opened = body.count(b"[", 0, length) + body.count(b"{", 0, length)
    most = FEW + length // BYTES_A_LIST
    if opened > most:
        raise InvalidInput(
            f"the body has {opened:,} brackets that open a list or object, {most:,} at most are "
            f"right in its {length:,} bytes"
        )
    for mark, name in OTHERS.items():
        if (found := body.count(mark, 0, length)) > FEW:
            raise InvalidInput(f"the body has {found:,} {name}, {FEW:,} at most are right")
