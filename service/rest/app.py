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

# A page that uses BentoML's copy of Swagger UI. BentoML's own page reports its visitors to Google.
PAGE = Path(__file__).parent / "documentation.html"


def build_app(
    bentoml_app: Starlette, lifespan: Lifespan[Starlette], with_metrics: bool = True
) -> Starlette:
    """Return an application with our routes in front of BentoML's; /metrics is optional."""
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
        if isinstance(route, Route):  # its $ would match /livez%0A as /livez
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z")
    return app


async def page(request: Request) -> Response:
    """Serve `GET /`: the page that documents the API and sends requests to it."""
    return FileResponse(PAGE, headers=DOCUMENTATION, media_type="text/html")
