"""The page at `/ui`, and a route that the page needs: the 28 x 28 pixels that the model gets."""

from hashlib import sha256
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from service.inference.data_plane import DataPlane
from service.preprocessing.formats import MEDIA_TYPES
from service.rest.classify import preprocess_async
from service.rest.uploads import read_upload

UI = Path(__file__).parents[1] / "ui"
FILES = StaticFiles(directory=UI)
PAGE = (UI / "index.html").read_bytes().replace(b"MEDIA_TYPES", ",".join(MEDIA_TYPES).encode())

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


async def seen(request: Request) -> Response:
    """Serve `POST /ui/seen`: the model's input for an image that `/classify` accepts.

    The response is a grey PNG of 28 x 28 pixels.
    """
    data_plane: DataPlane = request.app.state.data_plane
    content, choices = await read_upload(
        request, data_plane.settings.max_body_bytes, len(data_plane.model.labels)
    )
    decoders, max_pixels = request.app.state.decoders, data_plane.settings.max_image_pixels
    pixels, _ = await preprocess_async(content, decoders, max_pixels, choices.mode)  # (28, 28)
    png = BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return Response(png.getvalue(), media_type="image/png", headers=HEADERS)


ROUTES = [
    Route("/ui", page),
    Route("/ui/seen", seen, methods=["POST"]),
    Route("/ui/{path:path}", file),
]
