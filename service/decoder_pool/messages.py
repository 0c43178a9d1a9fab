"""The messages between a worker and its decoder processes.

Each message is the length of some JSON (4 bytes), the JSON, and bytes whose number it defines.
Nothing is pickled, so that an attacker in control of a decoder process cannot run code in the
worker.
"""

import json
import struct
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, BinaryIO

import numpy as np

from service.errors import DecoderError, InvalidInput, RequestError, TooLarge
from service.preprocessing.decoding import Job
from service.preprocessing.pipeline import PreprocessedImage
from service.signature import ImageSpec

LONGEST_NAME = 80  # characters; an error shows no more
LENGTH = struct.Struct("<I")
ERRORS: dict[int, type[RequestError]] = {error.status: error for error in (InvalidInput, TooLarge)}


def pack_job(job: Job) -> bytes:
    """Return the message head of a job, to be sent before its contents."""
    lengths = [len(content) for content in job.contents]
    names = [name[:LONGEST_NAME] for name in job.names]
    spec = job.spec
    images = [*spec.shape, spec.pipeline, spec.resize]
    return _pack([lengths, names, job.max_pixels, images, job.mode])


def read_head(file: BinaryIO) -> tuple[list[int], Job] | None:
    """Return the lengths of a job's contents, and the job without them; None at end of file."""
    prefix = file.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    lengths, names, max_pixels, images, mode = json.loads(file.read(*LENGTH.unpack(prefix)))
    return lengths, Job([], names, max_pixels, ImageSpec(*images), mode)


def pack_seen(seen: Sequence[PreprocessedImage]) -> bytes:
    """Return the answer to a finished job."""
    pixels = b"".join(one.pixels.tobytes() for one in seen)
    return _pack({"seen": [one.preprocessing for one in seen]}) + pixels


def pack_error(error: RequestError) -> bytes:
    """Return the answer to a refused job."""
    return _pack({"status": error.status, "error": str(error)})


def pack_passed_on() -> bytes:
    """Return the answer to a job that exceeds the limits of this process."""
    return _pack({})


def pack_failure(text: str) -> bytes:
    """Return the answer to a job with an unexpected error, which no image should cause."""
    return _pack({"failure": text})


def unpack_answer(
    received: bytes | bytearray, spec: ImageSpec
) -> list[PreprocessedImage] | RequestError | None:
    """Return the content of an answer about images of `spec`; None if the job was passed on.

    Raises:
        DecoderError: the decoder had an unexpected error, which no image should cause.
        Incomplete: the message is not complete yet.
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
    shape = (len(answer["seen"]), *spec.shape)
    if len(received) < end + len(answer["seen"]) * spec.bytes:
        raise Incomplete
    pixels = np.frombuffer(bytes(received[end:]), np.uint8).reshape(shape)  # (N, C, H, W)
    return [PreprocessedImage(*pair) for pair in zip(pixels, answer["seen"], strict=True)]


class Incomplete(Exception):
    """A message is not complete yet."""


def _pack(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return LENGTH.pack(len(text)) + text
