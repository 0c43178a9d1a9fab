"""`POST /classify` and `POST /classify_batch`: image files in any served format."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.decoder_pool.pool import Decoders
from service.http.query import MODEL, PARAMETERS, read_query
from service.http.responses import json_response
from service.inference.data_plane import DataPlane
from service.preprocessing.decoding import Job, named
from service.preprocessing.formats import FORMATS
from service.preprocessing.opening import open_image
from service.preprocessing.pipeline import (
    Mode,
    PreprocessedImage,
    preprocess,
    preprocess_fast_path,
)
from service.rest.uploads import Upload, read_upload, read_uploads
from service.signature import ImageSpec
from service.telemetry.request_timing import timing

# A PNG or JPEG of no more pixels than the network's input is decoded on the event loop, in about
# 40 us: its memory and time depend only on its pixels and bytes. A TIFF's tiles and a WebP's codes
# can claim gigabytes. Where the input has more pixels, resizing alone takes too long.
INLINE_PIXELS = 4096
INLINE_IMAGE_BYTES = 4096
INLINE_MAGIC_BYTES = tuple(
    beginning for one in FORMATS if one.inline for beginning in one.beginnings
)


async def classify(request: Request) -> Response:
    """Serve `POST /classify`: one image, as a form field or as the body."""
    data_plane: DataPlane = request.app.state.data_plane
    settings = data_plane.settings
    max_bytes, max_pixels = settings.max_body_bytes, settings.max_image_pixels
    query = read_query(request.scope["query_string"], PARAMETERS)
    with data_plane.selected(query.get(MODEL)) as served:
        # To the end, for the next model may have another shape.
        signature = served.model.signature
        content, (mode, top_k) = await read_upload(request, query, max_bytes, signature)
        request_timing, decoders = timing(request.scope), request.app.state.decoders
        with request_timing.decoding():
            seen = await preprocess_async(content, decoders, max_pixels, signature.image, mode)
        (answer,) = await served.classify([seen], request_timing, top_k)
    return json_response(answer)


async def classify_batch(request: Request) -> Response:
    """Serve `POST /classify_batch`: the images of a form."""
    data_plane: DataPlane = request.app.state.data_plane
    settings = data_plane.settings
    max_bytes, max_pixels = settings.max_body_bytes, settings.max_image_pixels
    query = read_query(request.scope["query_string"], PARAMETERS)
    with data_plane.selected(query.get(MODEL)) as served:
        signature = served.model.signature
        uploads, (mode, top_k) = await read_uploads(request, query, max_bytes, signature)
        request_timing, decoders = timing(request.scope), request.app.state.decoders
        with request_timing.decoding():
            seen = await preprocess_batch(uploads, decoders, max_pixels, signature.image, mode)
        answer = await served.classify(seen, request_timing, top_k)
    return json_response(answer)


async def preprocess_async(
    content: bytes, decoders: Decoders, max_pixels: int, spec: ImageSpec, mode: Mode
) -> PreprocessedImage:
    """Preprocess one image: inline if it is small and plain, else in a decoder process.

    Raises:
        RequestError: as in `service.decoder_pool.pool`.
    """
    if seen := preprocess_inline(content, max_pixels, spec, mode):
        return seen
    (seen,) = await decoders.decode(Job([content], [], max_pixels, spec, mode))
    return seen


async def preprocess_batch(
    uploads: Sequence[Upload], decoders: Decoders, max_pixels: int, spec: ImageSpec, mode: Mode
) -> list[PreprocessedImage]:
    """Preprocess the images of one form, in order.

    Raises:
        RequestError: as in `service.decoder_pool.pool`; the message names the image.
    """
    contents = [upload.content for upload in uploads]
    if sum(map(len, contents)) <= INLINE_IMAGE_BYTES:
        seen: list[PreprocessedImage] = []
        for index, upload in enumerate(uploads):
            with named(index, upload.name):
                if (one := preprocess_inline(upload.content, max_pixels, spec, mode)) is None:
                    break
            seen.append(one)
        else:
            return seen
    return await decoders.decode(Job(contents, [u.name for u in uploads], max_pixels, spec, mode))


def preprocess_inline(
    content: bytes, max_pixels: int, spec: ImageSpec, mode: Mode
) -> PreprocessedImage | None:
    """Preprocess an image that is cheap to decode; return None for any other.

    Raises:
        InvalidInput, TooLarge: as in `service.preprocessing.pipeline`.
    """
    if seen := preprocess_fast_path(content, spec, mode):
        return seen
    if len(content) > INLINE_IMAGE_BYTES or not content.startswith(INLINE_MAGIC_BYTES):
        return None
    most = spec.height * spec.width
    if most > INLINE_PIXELS:
        return None
    image = open_image(content, max_pixels)
    return preprocess(image, spec, mode) if image.width * image.height <= most else None


ROUTES = [
    Route("/classify", classify, methods=["POST"]),
    Route("/classify_batch", classify_batch, methods=["POST"]),
]
