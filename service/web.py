"""The HTTP application: our routes in front, BentoML's documentation pages behind them.

BentoML's own server answers a broken picture with 500, reads a body of any size into
memory, and keeps a metric for every unknown path. Here only the paths listed reach it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml
import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import NotReady, RequestError
from service.images import SIDE, open_image
from service.openapi import OpenAPI
from service.uploads import read_upload

if TYPE_CHECKING:
    from service.classifier import FashionClassifier

logger = logging.getLogger("bentoml.fashion_lenet")

BENTOMLS = ("/docs.json", "/schema.json", "/static_content/{path:path}")

# Swagger's page on BentoML's copy of Swagger. BentoML's own page reports its visitors to Google.
PAGE = Path(__file__).parent / "documentation.html"

# A picture of the network's own size is classified on the event loop, in some 80 us. A larger one
# takes a quarter of a millisecond and more, for which handing it to a thread (30 us) pays.
INLINE_PIXELS = SIDE * SIDE


class WebService(bentoml.Service["FashionClassifier"]):
    """A BentoML service whose HTTP application is this module's."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Build the application that a worker serves."""
        # Imported here because Prometheus's client looks for a multi-process folder when it is
        # imported, and only a worker has one.
        from service.metrics import Measured

        app = build_app(super().to_asgi(is_main))
        return Measured(app, [route.path for route in app.routes if isinstance(route, Route)])

    @property
    def openapi_spec(self) -> OpenAPI:
        """BentoML's description of the service, completed."""
        return OpenAPI(super().openapi_spec.asdict())


def build_app(bentoml_app: Starlette) -> Starlette:
    """Put our routes in front of BentoML's application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with bentoml_app.router.lifespan_context(bentoml_app):
            app.state.classifier = bentoml.get_current_service()
            _note_model(app.state.classifier)
            yield

    documentation = _JSONErrors(bentoml_app)
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/classify", classify, methods=["POST"]),
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            *(Route(path, documentation, methods=["GET"]) for path in BENTOMLS),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def page(request: Request) -> Response:
    """Answer `GET /`: the API to read and to try."""
    return FileResponse(PAGE, media_type="text/html")


async def classify(request: Request) -> Response:
    """Answer `POST /classify`: one picture, as a form's field or as the body."""
    classifier: FashionClassifier = request.app.state.classifier
    content = await read_upload(request, classifier.settings.max_body_bytes)
    image = open_image(content, classifier.settings.max_image_pixels)
    if image.width * image.height <= INLINE_PIXELS:
        return _json(classifier.classify_image(image))
    return _json(await asyncio.to_thread(classifier.classify_image, image))


async def livez(request: Request) -> Response:
    """Answer `GET /livez`: the process runs."""
    return _json({"status": "live"})


async def readyz(request: Request) -> Response:
    """Answer `GET /readyz`: the model is loaded and has passed its check, or why not."""
    classifier: FashionClassifier = request.app.state.classifier
    return _json({"status": "ready", **classifier.model.describe()})


async def healthz(request: Request) -> Response:
    """Answer `GET /healthz`, BentoML's name for the same."""
    return await readyz(request)


async def metrics(request: Request) -> Response:
    """Answer `GET /metrics`, in Prometheus's text format."""
    from service.metrics import metrics_response

    return metrics_response()


def _note_model(classifier: "FashionClassifier") -> None:
    from service.metrics import note_model

    try:
        note_model(classifier.model)
    except NotReady:
        logger.warning("No model to report to Prometheus.")


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


async def _request_error(request: Request, error: RequestError) -> Response:
    return _json({"error": str(error)}, error.status)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette itself refuses: an unknown path, a method not allowed."""
    path, method = request.url.path, request.method
    messages = {
        404: f"there is no {path} here: GET /docs.json lists what there is",
        405: f"{path} does not take {method}: see the header Allow",
    }
    message = messages.get(error.status_code, error.detail)
    return _json({"error": message}, error.status_code, dict(error.headers or {}))


async def _client_disconnect(request: Request, error: ClientDisconnect) -> Response:
    return _json({"error": "the client went away before its request was whole"}, 400)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Answer a fault of ours; Starlette raises it again, so that the log has its trace."""
    return _json({"error": "the service failed; its log says why"}, 500)


HANDLERS: dict[Any, Any] = {
    RequestError: _request_error,
    HTTPException: _http_exception,
    ClientDisconnect: _client_disconnect,
    Exception: _unexpected,
}


class _JSONErrors:
    """ASGI middleware that turns an application's error answers into ours."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: int | None = None

        async def checking_send(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message["status"]
            if refused is None:
                await send(message)

        await self.app(scope, receive, checking_send)
        if refused is not None:
            raise HTTPException(refused)
