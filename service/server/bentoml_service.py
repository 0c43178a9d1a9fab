"""The ASGI application that each worker serves instead of BentoML's own.

BentoML's own server answers a broken image with 500, reads a body of any size into
memory, and keeps a metric for every unknown path. Here only the listed paths reach it.
"""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan
from uvicorn.config import HTTP_PROTOCOLS

from service.decoder_pool.pool import Decoders
from service.http.fast_router import FastRouter
from service.malloc import tune_malloc_for_server
from service.middleware.admission import AdmissionMiddleware
from service.middleware.authentication import APIKeyMiddleware
from service.middleware.cors import cross_origin
from service.openapi.document import OpenAPI
from service.rest.app import build_app
from service.runtime.onnx_model import OnnxModel
from service.server import lifeline
from service.server.http_protocol import LimitedHttpProtocol
from service.settings import ServiceSettings
from service.telemetry import multiprocess
from service.telemetry.access_log import AccessLog
from service.telemetry.flusher import MetricsFlusher


class WebService(bentoml.Service[Any]):
    """A BentoML service that serves the ASGI application of this module."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the ASGI application that a worker serves."""
        lifeline.end_with_parent()
        multiprocess.preallocate()
        tune_malloc_for_server()
        # Imported here: Prometheus's client looks for its multi-process folder on import, and only
        # a worker has one.
        from service.middleware.instrumentation import InstrumentationMiddleware

        settings = ServiceSettings()
        log = AccessLog(settings.access_log)
        HTTP_PROTOCOLS["auto"] = partial(  # type: ignore[assignment]  # before uvicorn is created
            LimitedHttpProtocol, log=log, keep_alive_seconds=settings.keep_alive_seconds
        )
        bentoml_app = super().to_asgi(is_main)
        app = build_app(
            bentoml_app,
            _lifespan(bentoml_app),
            partial(describe, settings),
            settings.metrics_port is None,
        )
        routes = [route for route in app.routes if isinstance(route, Route)]
        answering: ASGIApp = FastRouter(app, routes)
        answering = AdmissionMiddleware(answering, routes, settings)
        if settings.api_key:
            answering = APIKeyMiddleware(answering, routes, settings.api_key)
        if settings.cors_origins:
            answering = cross_origin(answering, settings.cors_origins)
        if settings.tracing:
            from service.middleware.tracing import TracingMiddleware

            answering = TracingMiddleware(answering, routes)
        return InstrumentationMiddleware(answering, routes, log)

    @property
    def openapi_spec(self) -> OpenAPI:
        """The OpenAPI document of the whole service, without a model, instead of BentoML's."""
        return OpenAPI(ServiceSettings())


def describe(settings: ServiceSettings, model: OnnxModel | None) -> dict[str, Any]:
    """Return the OpenAPI description of a server that serves this model."""
    return OpenAPI(settings, model).asdict()


def _lifespan(bentoml_app: Starlette) -> Lifespan[Starlette]:
    """Return the lifespan that starts and stops BentoML's parts of a worker and ours."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with bentoml_app.router.lifespan_context(bentoml_app):
            app.state.decoders = Decoders()
            app.state.decoders.start()
            classifier = bentoml.get_current_service()
            app.state.data_plane = classifier.data_plane
            classifier.data_plane.start()
            classifier.install_signal_handlers()
            # Imported objects are never freed, and a garbage collection that visits them takes
            # 40 ms.
            gc.collect()
            gc.freeze()
            yield
            await classifier.close()
            await app.state.decoders.close()
            MetricsFlusher.flush_all()

    return lifespan
