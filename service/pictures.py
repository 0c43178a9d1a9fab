"""The routes that take pictures as people have them."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.answers import json_response
from service.choices import read_choices
from service.errors import RequestError, TooLarge
from service.images import SIDE, Mode, Seen, as_network_sees, open_image, see_plain
from service.timing import timing
from service.uploads import Upload, read_upload, read_uploads

if TYPE_CHECKING:
    from service.classifier import FashionClassifier

# A picture of the network's own size is decoded on the event loop, in some 40 us. A larger one
# takes a quarter of a millisecond and more, for which handing it to a thread (30 us) pays.
INLINE_PIXELS = SIDE * SIDE
INLINE_BYTES = 4096  # in which there is no room for anything that takes long to read

# Decoding takes up to 9 bytes a pixel: batches, and pictures larger than this, take turns.
LARGE_PIXELS = 4_000_000
BATCH_SECONDS = 5.0  # of one thread; see `service.bounded_reading`
LARGE = ThreadPoolExecutor(2, "decoding")


async def classify(request: Request) -> Response:
    """Answer `POST /classify`: one picture, as a form's field or as the body."""
    classifier: FashionClassifier = request.app.state.classifier
    mode, top_k = read_choices(request.scope["query_string"], len(classifier.model.labels))
    content = await read_upload(request, classifier.settings.max_body_bytes)
    watch = timing(request.scope)
    with watch.decoding():
        seen = await see(content, classifier.settings.max_image_pixels, mode)
    (answer,) = await classifier.classify_seen([seen], watch, top_k)
    return json_response(answer)


async def classify_batch(request: Request) -> Response:
    """Answer `POST /classify_batch`: the pictures of a form."""
    classifier: FashionClassifier = request.app.state.classifier
    mode, top_k = read_choices(request.scope["query_string"], len(classifier.model.labels))
    uploads = await read_uploads(request, classifier.settings.max_body_bytes)
    watch = timing(request.scope)
    with watch.decoding():
        seen = await asyncio.get_running_loop().run_in_executor(
            LARGE, see_all, uploads, classifier.settings.max_image_pixels, mode
        )
    return json_response(await classifier.classify_seen(seen, watch, top_k))


async def see(content: bytes, max_pixels: int, mode: Mode) -> Seen:
    """Decode one picture: at once where that is quick, else in a thread.

    Raises:
        InvalidInput, TooLarge: as `service.images` does.
    """
    if seen := see_plain(content, mode):
        return seen
    loop = asyncio.get_running_loop()
    if len(content) > INLINE_BYTES:
        found = await loop.run_in_executor(None, see_unless_large, content, max_pixels, mode)
    else:
        found = open_image(content, max_pixels)
        if found.width * found.height <= INLINE_PIXELS:
            return as_network_sees(found, mode)
    if isinstance(found, Seen):
        return found
    executor = LARGE if found.width * found.height > LARGE_PIXELS else None
    return await loop.run_in_executor(executor, as_network_sees, found, mode)


def see_unless_large(content: bytes, max_pixels: int, mode: Mode) -> Seen | Image.Image:
    """Decode a picture, but leave a large one opened, to wait for its turn.

    Raises:
        InvalidInput, TooLarge: as `service.images` does.
    """
    image = open_image(content, max_pixels)
    large = image.width * image.height > LARGE_PIXELS
    return image if large else as_network_sees(image, mode)


def see_all(uploads: Sequence[Upload], max_pixels: int, mode: Mode = "auto") -> list[Seen]:
    """Decode the pictures of one form, in order.

    Raises:
        InvalidInput: one of them is broken, or no picture; the message names it.
        TooLarge: all of them together have more pixels than the limit, or take too long.
    """
    end = time.thread_time() + BATCH_SECONDS
    images = []
    for index, upload in enumerate(uploads):
        with _named(index, upload):
            _check_time(end)
            images.append(open_image(upload.content, max_pixels))
    pixels = sum(image.width * image.height for image in images)
    if pixels > max_pixels:
        raise TooLarge(
            f"the {len(images)} images have {pixels:,} pixels together, {max_pixels:,} are the "
            "limit: send fewer or smaller ones"
        )
    seen = []
    for index, image in enumerate(images):
        with _named(index, uploads[index]):
            _check_time(end)
            seen.append(as_network_sees(image, mode))
        image.close()
    return seen


def _check_time(end: float) -> None:
    if time.thread_time() > end:
        raise TooLarge(
            f"this many images are not read in {BATCH_SECONDS:g} s of a processor's time: send "
            "fewer or smaller ones"
        )


@contextmanager
def _named(index: int, upload: Upload) -> Iterator[None]:
    """Say which picture of a form an error is about."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"images[{index}] {upload.name[:80]!r}: {error}") from error


ROUTES = [
    Route("/classify", classify, methods=["POST"]),
    Route("/classify_batch", classify_batch, methods=["POST"]),
]
