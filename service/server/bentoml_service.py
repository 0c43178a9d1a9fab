"""The BentoML service class, whose workers serve our ASGI application.

BentoML's own server answers a broken image with 500, reads a body of any size into memory, and
keeps a metric for every unknown path. Only the listed paths reach it here.
"""

from typing import Any

import bentoml
from starlette.types import ASGIApp

from service.malloc import tune_malloc_for_server
from service.openapi.document import OpenAPI
from service.server import lifeline
from service.settings import ServiceSettings
from service.telemetry import multiprocess


class WebService(bentoml.Service[Any]):
    """A BentoML service that serves the ASGI application of `service.server.worker`."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Set up this worker's process, and return the ASGI application that it serves."""
        _set_up_process()
        # Imported here: Prometheus's client looks for its multi-process folder on import, and only
        # a worker has one. All modules that import `service.telemetry.metrics` are behind this.
        from service.server.worker import Worker

        return Worker(ServiceSettings()).application(super().to_asgi(is_main))

    @property
    def openapi_spec(self) -> OpenAPI:
        """The OpenAPI document of the whole service, without a model, instead of BentoML's."""
        return OpenAPI(ServiceSettings())


def _set_up_process() -> None:
    lifeline.end_with_parent()
    multiprocess.preallocate()
    tune_malloc_for_server()
