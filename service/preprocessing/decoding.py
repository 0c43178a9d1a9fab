"""Decoding of one request's images, in the calling process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from service.errors import RequestError, TooLarge
from service.preprocessing.opening import open_image
from service.preprocessing.pipeline import Mode, PreprocessedImage, draft, preprocess
from service.signature import ImageSpec


class Job(NamedTuple):
    """Images to decode, one after the other."""

    contents: Sequence[bytes]
    names: Sequence[str]  # the client's file names of a form's images; empty: one image as body
    max_pixels: int
    spec: ImageSpec  # of the model's images
    mode: Mode = "auto"


class LargeJob(Exception):
    """There are more pixels to decode than the caller allows."""


def decode(job: Job, most_pixels: int | None = None) -> list[PreprocessedImage]:
    """Return a request's images, preprocessed, in order.

    Args:
        job: the images.
        most_pixels: limit of the pixels to decode; None for the job's own limit.

    Raises:
        InvalidInput: a file is broken, or not an image; the message names it.
        TooLarge: one image or all together have more pixels than the limit, or take too long.
        LargeJob: the images have more than most_pixels.
    """
    if not job.names:
        return [_decode_one(job.contents[0], job, most_pixels)]
    pixels, decoded = 0, 0
    for index, content in enumerate(job.contents):
        # Closed at once: a thousand open images take more memory than one that is decoded.
        with named(index, job.names[index]), open_image(content, job.max_pixels) as image:
            pixels += image.width * image.height
            draft(image, job.spec)
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
        draft(image, job.spec)
        if most_pixels is not None and image.width * image.height > most_pixels:
            raise LargeJob
        return preprocess(image, job.spec, job.mode)


@contextmanager
def named(index: int, name: str) -> Iterator[None]:
    """Add an image's index and file name to errors about it."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"images[{index}] {name[:80]!r}: {error}") from error
