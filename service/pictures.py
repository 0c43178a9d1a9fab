"""The routes that take pictures as people have them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.answers import json_response
from service.choices import read_choices
from service.errors import RequestError, TooLarge
from service.images import SIDE, Mode, Seen, as_network_sees, open_image
from service.timing import Timing, timing
from service.uploads import Upload, read_upload, read_uploads

if TYPE_CHECKING:
    from service.classifier import FashionClassifier

# A picture of the network's own size is decoded on the event loop, in some 40 us. A larger one
# takes a quarter of a millisecond and more, for which handing it to a thread (30 us) pays.
INLINE_PIXELS = SIDE * SIDE


async def classify(request: Request) -> Response:
    """Answer `POST /classify`: one picture, as a form's field or as the body."""
    classifier: FashionClassifier = request.app.state.classifier
    mode, top_k = read_choices(request.query_params, len(classifier.model.labels))
    content = await read_upload(request, classifier.settings.max_body_bytes)
    watch = timing(request.scope)
    with watch.decoding():
        image = open_image(content, classifier.settings.max_image_pixels)
    if image.width * image.height <= INLINE_PIXELS:
        seen = _see(image, mode, watch)
    else:
        seen = await asyncio.to_thread(_see, image, mode, watch)
    (answer,) = await classifier.classify_seen([seen], watch, top_k)
    return json_response(answer)


async def classify_batch(request: Request) -> Response:
    """Answer `POST /classify_batch`: the pictures of a form."""
    classifier: FashionClassifier = request.app.state.classifier
    mode, top_k = read_choices(request.query_params, len(classifier.model.labels))
    uploads = await read_uploads(request, classifier.settings.max_body_bytes)
    watch = timing(request.scope)
    with watch.decoding():
        max_pixels = classifier.settings.max_image_pixels
        seen = await asyncio.to_thread(see_all, uploads, max_pixels, mode)
    return json_response(await classifier.classify_seen(seen, watch, top_k))


def _see(image: Image.Image, mode: Mode, watch: Timing) -> Seen:
    with watch.decoding():
        return as_network_sees(image, mode)


def see_all(uploads: Sequence[Upload], max_pixels: int, mode: Mode = "auto") -> list[Seen]:
    """Decode the pictures of one form, in order.

    Raises:
        InvalidInput: one of them is broken, or no picture; the message names it.
        TooLarge: all of them together have more pixels than the limit.
    """
    images = []
    for index, upload in enumerate(uploads):
        with _named(index, upload):
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
            seen.append(as_network_sees(image, mode))
        image.close()
    return seen


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
