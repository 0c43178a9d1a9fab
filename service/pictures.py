"""The routes that take pictures as people have them."""

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.answers import json_response
from service.images import SIDE, open_image
from service.timing import timing
from service.uploads import read_upload

if TYPE_CHECKING:
    from service.classifier import FashionClassifier

# A picture of the network's own size is classified on the event loop, in some 80 us. A larger one
# takes a quarter of a millisecond and more, for which handing it to a thread (30 us) pays.
INLINE_PIXELS = SIDE * SIDE


async def classify(request: Request) -> Response:
    """Answer `POST /classify`: one picture, as a form's field or as the body."""
    classifier: FashionClassifier = request.app.state.classifier
    content = await read_upload(request, classifier.settings.max_body_bytes)
    image = open_image(content, classifier.settings.max_image_pixels)
    watch = timing(request.scope)
    if image.width * image.height <= INLINE_PIXELS:
        return json_response(classifier.classify_image(image, watch))
    return json_response(await asyncio.to_thread(classifier.classify_image, image, watch))


ROUTES = [Route("/classify", classify, methods=["POST"])]
