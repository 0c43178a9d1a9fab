"""The page at `/ui`, and what it needs: facts about the model, and the pixels that it gets."""

import asyncio
import base64
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from service.http.query import MODEL, PARAMETERS, read_query
from service.http.responses import json_response
from service.inference.data_plane import DataPlane
from service.preprocessing.formats import MEDIA_TYPES
from service.preprocessing.pipeline import MODES
from service.rest.classify import preprocess_async
from service.rest.uploads import read_upload
from service.runtime.onnx_model import OnnxModel

UI = Path(__file__).parents[1] / "ui"
FILES = StaticFiles(directory=UI)
PAGE = (UI / "index.html").read_bytes().replace(b"MEDIA_TYPES", ",".join(MEDIA_TYPES).encode())

MOST_SAMPLES = 10

# The page runs its own scripts, calls its own service and loads nothing else. blob: allows the
# images that the user has chosen.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",  # revalidate with If-None-Match: a new version shows at once
}


async def page(request: Request) -> Response:
    """Serve `GET /ui`; the page's file dialog offers the formats served."""
    headers = {**HEADERS, "ETag": f'"{sha256(PAGE).hexdigest()}"'}
    response = Response(PAGE, headers=headers, media_type="text/html")
    if FILES.is_not_modified(response.headers, request.headers):
        response = NotModifiedResponse(response.headers)
        response.headers.update(HEADERS)  # it drops the policy, which browsers take from a 304
    return response


async def file(request: Request) -> Response:
    """Serve `GET /ui/...`: one of the page's files."""
    path = request.path_params["path"]
    if path == "index.html":  # the file on disk lacks the formats
        return await page(request)
    if path == "seen":  # not a file, but the POST route below
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
    response = await FILES.get_response(path, request.scope)
    response.headers.update(HEADERS)
    return response


async def model(request: Request) -> Response:
    """Serve `GET /ui/model`: the model's name, images, classes and golden samples, for the page."""
    data_plane: DataPlane = request.app.state.data_plane
    name = read_query(request.scope["query_string"], (MODEL,)).get(MODEL)
    model = data_plane.selected(name).model
    return json_response(await asyncio.to_thread(describe, model, data_plane.names))


def describe(model: OnnxModel, names: Sequence[str]) -> dict[str, Any]:
    """Return what the page says of a model and of the choice of models, as JSON types."""
    spec = model.signature.image
    return {
        "models": names,
        "name": model.name,
        "version": model.version,
        "labels": model.labels,
        "image": {"channels": spec.channels, "height": spec.height, "width": spec.width},
        "pipeline": spec.pipeline,
        "modes": MODES[spec.pipeline],
        "samples": [
            {"label": model.labels[class_id], "png": base64.b64encode(as_png(pixels)).decode()}
            for class_id, pixels in _samples(model).items()
        ],
    }


def _samples(model: OnnxModel) -> dict[int, NDArray[np.uint8]]:
    """Return the first golden sample (C, H, W) of each class, by class, of ten classes at most."""
    found: dict[int, NDArray[np.uint8]] = {}
    class_ids: list[int] = model.golden.logits.argmax(axis=1).tolist()
    for class_id, pixels in zip(class_ids, model.golden.images, strict=True):
        if len(found) < MOST_SAMPLES:
            found.setdefault(class_id, pixels)
    return found


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image (C, H, W) as a PNG, grey or in colour."""
    png = BytesIO()
    grey = len(pixels) == 1
    Image.fromarray(pixels[0] if grey else pixels.transpose(1, 2, 0)).save(png, "PNG")
    return png.getvalue()


async def seen(request: Request) -> Response:
    """Serve `POST /ui/seen`: the model's input for an image that `/classify` accepts.

    The response is a PNG of its H x W pixels, grey or in colour.
    """
    data_plane: DataPlane = request.app.state.data_plane
    query = read_query(request.scope["query_string"], PARAMETERS)
    settings = data_plane.settings
    signature = data_plane.selected(query.get(MODEL)).model.signature
    content, choices = await read_upload(request, query, settings.max_body_bytes, signature)
    pixels, _ = await preprocess_async(
        content,
        request.app.state.decoders,
        settings.max_image_pixels,
        signature.image,
        choices.mode,
    )  # (C, H, W)
    return Response(as_png(pixels), media_type="image/png", headers=HEADERS)


ROUTES = [
    Route("/ui", page),
    Route("/ui/model", model),
    Route("/ui/seen", seen, methods=["POST"]),
    Route("/ui/{path:path}", file),
]
