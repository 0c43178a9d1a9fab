"""The Starlette application: our routes in front, BentoML's documentation pages behind them."""

import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from service.http.error_responses import HANDLERS, JSONErrorMiddleware
from service.http.headers import DOCUMENTATION
from service.oip import rest_routes
from service.rest import classify, health, predict, ui

BENTOMLS = ("/docs.json", "/schema.json", "/static_content/{path:path}")

# Swagger's page on BentoML's copy of Swagger. BentoML's own page reports its visitors to Google.
PAGE = Path(__file__).parent / "documentation.html"


def build_app(
    bentoml_app: Starlette, lifespan: Lifespan[Starlette], with_metrics: bool = True
) -> Starlette:
    """Put our routes in front of BentoML's application, /metrics among them or not."""
    app = Starlette(
        routes=[
            Route("/", page),
            *classify.ROUTES,
            *predict.ROUTES,
            *rest_routes.ROUTES,
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
        if isinstance(route, Route):  # its $ would take /livez%0A for /livez
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")
    return app


async def page(request: Request) -> Response:
    """Answer `GET /`: the API to read and to try."""
    return FileResponse(PAGE, headers=DOCUMENTATION, media_type="text/html")
