"""The routes of the model repository extension: index, load and unload.

Source: Triton's `protocol/extension_model_repository.md`.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import InvalidInput
from service.http.json_body import JSON_TYPE_NAMES, read_json
from service.http.query import read_query
from service.http.request_body import read_plain_body
from service.http.responses import json_response
from service.inference.data_plane import DataPlane
from service.oip.models import check_load_parameters, repository_index
from service.oip.protocol import REPOSITORY

MOST_BYTES = 64 * 1024  # of a body, which has a few options at most


async def index(request: Request) -> Response:
    """Serve `POST /v2/repository/index`: all models, or with `{"ready": true}` the ready ones."""
    data_plane: DataPlane = request.app.state.data_plane
    only_ready = (await _options(request, "ready")).get("ready", False)
    if type(only_ready) is not bool:
        raise InvalidInput(
            f"ready: expected true or false, got {JSON_TYPE_NAMES[type(only_ready)]}"
        )
    return json_response(repository_index(data_plane, only_ready))


async def load(request: Request) -> Response:
    """Serve `POST /v2/repository/models/NAME/load`."""
    data_plane: DataPlane = request.app.state.data_plane
    data_plane.check_control()
    check_load_parameters((await _options(request, "parameters")).get("parameters") or ())
    await data_plane.load(request.path_params["name"])
    return Response()


async def unload(request: Request) -> Response:
    """Serve `POST /v2/repository/models/NAME/unload`; no model has dependents to unload."""
    data_plane: DataPlane = request.app.state.data_plane
    data_plane.check_control()
    await _options(request, "parameters")
    await data_plane.unload(request.path_params["name"])
    return Response()


async def _options(request: Request, known: str) -> Mapping[str, Any]:
    """Return the JSON object of a request's body, which may be empty.

    Raises:
        InvalidInput: it is not such an object, or has other keys than the known one.
    """
    read_query(request.scope["query_string"])
    body = await read_plain_body(request, MOST_BYTES)
    options = read_json(body) if body else {}
    if not isinstance(options, dict) or options.keys() - {known}:
        seen = list(options) if isinstance(options, dict) else JSON_TYPE_NAMES[type(options)]
        raise InvalidInput(f"the body: expected an object with {known!r} or none, got {seen}"[:300])
    return options


ROUTES = [
    Route(f"{REPOSITORY}/index", index, methods=["POST"]),
    Route(f"{REPOSITORY}/models/{{name}}/load", load, methods=["POST"]),
    Route(f"{REPOSITORY}/models/{{name}}/unload", unload, methods=["POST"]),
]
