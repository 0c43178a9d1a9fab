"""Decode the pictures of one request, in the process that calls."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from service.errors import RequestError, TooLarge
from service.preprocessing.fashion_mnist import MAX_WORKING_SIDE
from service.preprocessing.pipeline import Mode, PreprocessedImage, open_image, preprocess


class Job(NamedTuple):
    """Pictures to decode, one after the other."""

    contents: Sequence[bytes]
    names: Sequence[str]  # of a form's pictures, as its client has them; none: one is the body
    max_pixels: int
    mode: Mode = "auto"


class LargeJob(Exception):
    """There are more pixels to decode than the caller wants to."""


def decode(job: Job, most_pixels: int | None = None) -> list[PreprocessedImage]:
    """Decode the pictures of a request, in order.

    Args:
        job: what to decode.
        most_pixels: to decode at all; None for any number within the job's own limit.

    Raises:
        InvalidInput: one of them is broken, or no picture; the message names it.
        TooLarge: it, or all of them together, have more pixels than the limit, or take too long.
        LargeJob: they have more than most_pixels.
    """
    if not job.names:
        return [_decode_one(job.contents[0], job, most_pixels)]
    pixels, decoded = 0, 0
    for index, content in enumerate(job.contents):
        # Closed at once: a thousand that are open hold more than one that is decoded.
        with named(index, job.names[index]), open_image(content, job.max_pixels) as image:
            pixels += image.width * image.height
            image.draft(None, (MAX_WORKING_SIDE, MAX_WORKING_SIDE))
            decoded += image.width * image.height
    if pixels > job.max_pixels:
        raise TooLarge(
            f"the {len(job.contents)} images have {pixels:,} pixels together, {job.max_pixels:,} "
            "are the limit: send fewer or smaller ones"
        )
    if most_pixels is not None and decoded > most_pixels:
        raise LargeJob
    seen = []
    for index, content in enumerate(job.contents):
        with named(index, job.names[index]):
            seen.append(_decode_one(content, job, None))
    return seen


def _decode_one(content: bytes, job: Job, most_pixels: int | None) -> PreprocessedImage:
    with open_image(content, job.max_pixels) as image:
        # A large JPEG is decoded at a half, a quarter or an eighth of its size, as much faster.
        image.draft(None, (MAX_WORKING_SIDE, MAX_WORKING_SIDE))
        if most_pixels is not None and image.width * image.height > most_pixels:
            raise LargeJob
        return preprocess(image, job.mode)


@contextmanager
def named(index: int, name: str) -> Iterator[None]:
    """Say which picture of a form an error is about."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"images[{index}] {name[:80]!r}: {error}") from error
