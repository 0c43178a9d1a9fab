"""What a worker and a process that decodes for it say to each other.

Each message is the length of some JSON (4 bytes), the JSON, and bytes whose number it tells.
Nothing is pickled: whoever took over the process that decodes should gain no more than that.
"""

import json
import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, BinaryIO

import numpy as np

from service.errors import DecoderError, InvalidInput, RequestError, TooLarge
from service.preprocessing.decoding import Job
from service.preprocessing.pipeline import SIDE, PreprocessedImage

LONGEST_NAME = 80  # characters, of which an error shows no more
LENGTH = struct.Struct("<I")
ERRORS: dict[int, type[RequestError]] = {error.status: error for error in (InvalidInput, TooLarge)}


def pack_job(job: Job) -> bytes:
    """Return what comes before a job's contents."""
    lengths = [len(content) for content in job.contents]
    names = [name[:LONGEST_NAME] for name in job.names]
    return _pack([lengths, names, job.max_pixels, job.mode])


def read_head(file: BinaryIO) -> tuple[list[int], Job] | None:
    """Read what comes before a job's contents: their lengths, and the job without them.

    Returns:
        None where nothing more comes.
    """
    prefix = file.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    lengths, names, max_pixels, mode = json.loads(file.read(*LENGTH.unpack(prefix)))
    return lengths, Job([], names, max_pixels, mode)


def pack_seen(seen: Sequence[PreprocessedImage]) -> bytes:
    """Return the answer to a job that is done."""
    pixels = b"".join(one.pixels.tobytes() for one in seen)
    return _pack({"seen": [one.preprocessing for one in seen]}) + pixels


def pack_error(error: RequestError) -> bytes:
    """Return the answer to a job that is refused."""
    return _pack({"status": error.status, "error": str(error)})


def pack_passed_on() -> bytes:
    """Return the answer to a job that takes more than this process may spend."""
    return _pack({})


def pack_failure(text: str) -> bytes:
    """Return the answer to a job in which an error was raised that no picture should cause."""
    return _pack({"failure": text})


def unpack_answer(received: bytes | bytearray) -> list[PreprocessedImage] | RequestError | None:
    """Read an answer; None stands for one that was passed on.

    Raises:
        DecoderError: there was an error that no picture should cause.
        Incomplete: more of it is to come.
    """
    if len(received) < LENGTH.size:
        raise Incomplete
    end = LENGTH.size + LENGTH.unpack_from(received)[0]
    if len(received) < end:
        raise Incomplete
    answer: dict[str, Any] = json.loads(received[LENGTH.size : end])
    if "error" in answer:
        return ERRORS[HTTPStatus(answer["status"])](answer["error"])
    if "failure" in answer:
        raise DecoderError(answer["failure"])
    if "seen" not in answer:
        return None
    shape = (len(answer["seen"]), SIDE, SIDE)
    if len(received) < end + len(answer["seen"]) * SIDE * SIDE:
        raise Incomplete
    pixels = np.frombuffer(bytes(received[end:]), np.uint8).reshape(shape)  # (N, 28, 28)
    return [PreprocessedImage(*pair) for pair in zip(pixels, answer["seen"], strict=True)]


class Incomplete(Exception):
    """More of a message is to come."""


def _pack(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return LENGTH.pack(len(text)) + text
