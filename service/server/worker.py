"""A worker: its connections, its application, and what runs beside its requests."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan
from uvicorn.config import HTTP_PROTOCOLS

from service.decoder_pool.pool import Decoders
from service.grpc.listening import Listening
from service.http.fast_router import FastRouter
from service.inference.data_plane import DataPlane
from service.inference.load_limiter import LoadLimiter
from service.middleware.admission import AdmissionMiddleware
from service.middleware.authentication import APIKeyMiddleware
from service.middleware.cors import cross_origin
from service.middleware.instrumentation import InstrumentationMiddleware
from service.openapi.document import OpenAPI
from service.rest.app import build_app
from service.runtime.onnx_model import OnnxModel
from service.server.http_protocol import LimitedHttpProtocol
from service.server.worker_metrics import sample_process
from service.settings import ServiceSettings
from service.telemetry.access_log import AccessLog
from service.telemetry.flusher import FLUSHER
from service.telemetry.in_flight import sample_in_flight

if TYPE_CHECKING:
    from service.grpc.server import GRPCServer


class Worker:
    """What the requests of a worker share."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Open the access log, and set the limit of requests in flight."""
        self._settings = settings
        self._log = AccessLog(settings.access_log)
        self._limiter = LoadLimiter(settings.max_concurrency)
        self._spans = None
        if settings.tracing:
            from service.telemetry.spans import SpanRecorder  # OpenTelemetry takes 0.1 s

            self._spans = SpanRecorder()

    def application(self, bentoml_app: Starlette) -> ASGIApp:
        """Return the ASGI application, with BentoML's behind it; set uvicorn's connections up."""
        self._limit_connections()
        with_metrics = self._settings.metrics_port is None
        lifespan = self._lifespan(bentoml_app)
        return self._wrap(build_app(bentoml_app, lifespan, self._describe, with_metrics))

    def _describe(self, model: OnnxModel | None, names: Sequence[str]) -> dict[str, Any]:
        """Return the OpenAPI description of a server that serves these models."""
        return OpenAPI(self._settings, model, names).asdict()

    def _limit_connections(self) -> None:
        """Make uvicorn, which BentoML creates later, use our connections."""
        HTTP_PROTOCOLS["auto"] = partial(  # type: ignore[assignment]
            LimitedHttpProtocol,
            log=self._log,
            keep_alive_seconds=self._settings.keep_alive_seconds,
            limiter=self._limiter,
        )

    def _wrap(self, app: Starlette) -> ASGIApp:
        """Wrap an application in the middleware that the settings ask for, innermost first."""
        settings = self._settings
        routes = [route for route in app.routes if isinstance(route, Route)]
        wrapped: ASGIApp = FastRouter(app, routes)
        wrapped = AdmissionMiddleware(wrapped, routes, settings, self._limiter)
        if settings.api_key:
            wrapped = APIKeyMiddleware(wrapped, routes, settings.api_key)
        if settings.cors_origins:
            wrapped = cross_origin(wrapped, settings.cors_origins)
        if self._spans is not None:
            from service.middleware.tracing import TracingMiddleware

            wrapped = TracingMiddleware(wrapped, routes, self._spans)
        return InstrumentationMiddleware(wrapped, routes, self._log)

    def _lifespan(self, bentoml_app: Starlette) -> Lifespan[Starlette]:
        """Return the lifespan that starts and stops BentoML's parts of a worker and ours."""

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            async with bentoml_app.router.lifespan_context(bentoml_app):
                classifier = bentoml.get_current_service()
                data_plane = app.state.data_plane = classifier.data_plane
                decoders = app.state.decoders = Decoders()
                decoders.start()
                data_plane.start()
                if threading.current_thread() is threading.main_thread():  # only it may set them
                    data_plane.install_signal_handlers()
                    classifier.draining.install_signal_handlers()
                grpc_server = await self._serve_grpc(data_plane)
                if grpc_server is not None:
                    classifier.draining.call_at_end(grpc_server.begin_stop)
                metrics = (FLUSHER.run(), sample_in_flight(self._limiter), sample_process())
                tasks = [asyncio.create_task(updates) for updates in metrics]
                _freeze_imported_objects()
                yield
                if grpc_server is not None:
                    await grpc_server.stop()
                for task in tasks:
                    task.cancel()
                await data_plane.close()
                await decoders.close()
                FLUSHER.flush()

        return lifespan

    async def _serve_grpc(self, data_plane: DataPlane) -> "GRPCServer | None":
        listening = Listening.read()
        if listening is None:
            return None
        from service.grpc.server import GRPCServer  # grpcio takes 0.15 s and 20 MB

        record = None if self._spans is None else self._spans.record
        server = GRPCServer(self._settings, data_plane, self._limiter, self._log, record)
        await server.start(listening)
        return server


def _freeze_imported_objects() -> None:
    """Have garbage collections skip imported objects: a visit takes 40 ms, and none is freed."""
    gc.collect()
    gc.freeze()
