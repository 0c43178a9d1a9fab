"""The routes for operators: probes and metrics."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.http.responses import json_response
from service.telemetry.metrics import exposition


async def livez(request: Request) -> Response:
    """Serve `GET /livez`: the process runs."""
    return json_response({"status": "live"})


async def readyz(request: Request) -> Response:
    """Serve `GET /readyz`: the model is loaded and has passed its check, or why not."""
    return json_response({"status": "ready", **request.app.state.data_plane.ready_model.describe()})


async def healthz(request: Request) -> Response:
    """Serve `GET /healthz`, BentoML's name for `/readyz`."""
    return await readyz(request)


async def metrics(request: Request) -> Response:
    """Serve `GET /metrics`, in Prometheus's text format."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


ROUTES = [
    Route("/livez", livez),
    Route("/readyz", readyz),
    Route("/healthz", healthz),
]
METRICS = [Route("/metrics", metrics)]  # if they have no port of their own
