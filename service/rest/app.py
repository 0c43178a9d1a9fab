"""The Starlette application: our routes in front, BentoML's documentation pages behind them."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from service.http.error_responses import HANDLERS, JSONErrorMiddleware
from service.http.headers import DOCUMENTATION
from service.http.responses import json_response
from service.inference.data_plane import DataPlane
from service.oip import repository_routes, rest_routes
from service.rest import classify, health, predict, ui
from service.runtime.onnx_model import OnnxModel

BENTOMLS = ("/schema.json", "/static_content/{path:path}")

Describe = Callable[[OnnxModel | None, Sequence[str]], dict[str, Any]]

# A page that uses BentoML's copy of Swagger UI. BentoML's own page reports its visitors to Google.
PAGE = Path(__file__).parent / "documentation.html"


def build_app(
    bentoml_app: Starlette,
    lifespan: Lifespan[Starlette],
    describe: Describe,
    with_metrics: bool = True,
) -> Starlette:
    """Return an application with our routes in front of BentoML's.

    Args:
        bentoml_app: BentoML's own application.
        lifespan: starts and stops a worker's parts.
        describe: returns the OpenAPI description for the default model, or for none, and the names
            of all that are served.
        with_metrics: whether it serves /metrics.
    """
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/docs.json", partial(description, describe)),
            *classify.ROUTES,
            *predict.ROUTES,
            *rest_routes.ROUTES,
            *repository_routes.ROUTES,
            *ui.ROUTES,
            *health.ROUTES,
            *(health.METRICS if with_metrics else ()),
            *(Route(path, JSONErrorMiddleware(bentoml_app), methods=["GET"]) for path in BENTOMLS),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    for route in app.routes:
        if isinstance(route, Route):  # its $ would match /livez%0A as /livez
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")
    return app


async def description(describe: Describe, request: Request) -> Response:
    """Serve `GET /docs.json`: the OpenAPI description, which follows the served models."""
    data_plane: DataPlane = request.app.state.data_plane
    return json_response(describe(data_plane.model_or_none, data_plane.names))


async def page(request: Request) -> Response:
    """Serve `GET /`: the page that documents the API and sends requests to it."""
    return FileResponse(PAGE, headers=DOCUMENTATION, media_type="text/html")
