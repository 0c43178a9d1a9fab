"""The HTTP application: our routes in front, BentoML's documentation pages behind them.

BentoML's own server answers a broken picture with 500, reads a body of any size into
memory, and keeps a metric for every unknown path. Here only the paths listed reach it.
"""

import gc
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.config import HTTP_PROTOCOLS

from service import (
    demonstration,
    lifeline,
    metric_files,
    open_inference,
    pictures,
    predictions,
    probes,
)
from service.access_log import AccessLog
from service.admission import Admission
from service.api_keys import APIKeys
from service.connections import Protocol
from service.cross_origin import cross_origin
from service.decoders import Decoders
from service.errors import NotReady
from service.failures import HANDLERS, JSONErrors
from service.freed_memory import give_back_large_blocks
from service.openapi import OpenAPI
from service.security_headers import DOCUMENTATION
from service.settings import ServiceSettings
from service.short_way import ShortWay
from service.telling import Telling

if TYPE_CHECKING:
    from service.classifier import FashionClassifier

logger = logging.getLogger("bentoml.fashion_lenet")

BENTOMLS = ("/docs.json", "/schema.json", "/static_content/{path:path}")

# Swagger's page on BentoML's copy of Swagger. BentoML's own page reports its visitors to Google.
PAGE = Path(__file__).parent / "documentation.html"


class WebService(bentoml.Service["FashionClassifier"]):
    """A BentoML service whose HTTP application is this module's."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Build the application that a worker serves."""
        lifeline.end_with_parent()
        metric_files.reserve()
        give_back_large_blocks()
        # Imported here because Prometheus's client looks for a multi-process folder when it is
        # imported, and only a worker has one.
        from service.observation import Observed

        settings = ServiceSettings()
        log = AccessLog(settings.access_log)
        HTTP_PROTOCOLS["auto"] = partial(  # type: ignore[assignment]  # the worker makes uvicorn next
            Protocol, log=log, keep_alive_seconds=settings.keep_alive_seconds
        )
        app = build_app(super().to_asgi(is_main), settings.metrics_port is None)
        routes = [route for route in app.routes if isinstance(route, Route)]
        answering: ASGIApp = ShortWay(app, routes)
        answering = Admission(answering, routes, settings)
        if settings.api_key:
            answering = APIKeys(answering, routes, settings.api_key)
        if settings.cors_origins:
            answering = cross_origin(answering, settings.cors_origins)
        if settings.tracing:
            from service.tracing import Traced

            answering = Traced(answering, routes)
        return Observed(answering, routes, log)

    @property
    def openapi_spec(self) -> OpenAPI:
        """The description of the whole service, in the place of BentoML's."""
        return OpenAPI(ServiceSettings())


def build_app(bentoml_app: Starlette, with_metrics: bool = True) -> Starlette:
    """Put our routes in front of BentoML's application, /metrics among them or not."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with bentoml_app.router.lifespan_context(bentoml_app):
            app.state.decoders = Decoders()
            app.state.decoders.start()
            app.state.classifier = bentoml.get_current_service()
            _note_model(app.state.classifier)
            app.state.classifier.take_signals()
            # All that was imported stays, and looking through it for garbage takes 40 ms.
            gc.collect()
            gc.freeze()
            yield
            await app.state.classifier.close()
            await app.state.decoders.close()
            Telling.all_now()

    app = Starlette(
        routes=[
            Route("/", page),
            *pictures.ROUTES,
            *predictions.ROUTES,
            *open_inference.ROUTES,
            *demonstration.ROUTES,
            *probes.ROUTES,
            *(probes.METRICS if with_metrics else ()),
            *(Route(path, JSONErrors(bentoml_app), methods=["GET"]) for path in BENTOMLS),
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


def _note_model(classifier: "FashionClassifier") -> None:
    from service.metrics import note_model

    try:
        note_model(classifier.model)
    except NotReady:
        logger.warning("No model to report to Prometheus.")
