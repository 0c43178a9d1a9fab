"""The REST routes of the Open Inference Protocol, version 2.

Source: `specification/protocol/inference_rest.md` of kserve/open-inference-protocol.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import UnsupportedType
from service.http.content_encoding import inflate, is_compressed
from service.http.json_body import read_in_thread
from service.http.query import read_query
from service.http.request_body import header, media_type, read_body
from service.http.responses import json_response
from service.http.scope import INFLATED
from service.inference.data_plane import DataPlane
from service.inference.served_model import ServedModel
from service.oip import inference, models
from service.oip.inference_request import InferenceRequest
from service.oip.json_tensors import Shape
from service.oip.protocol import EXTENSIONS
from service.oip.rest_request import HEADER_LENGTH, LENGTH, parse_request
from service.oip.rest_response import write_response
from service.telemetry.request_timing import timing
from service.version import SERVER, SERVER_VERSION

LENGTH_NAME = HEADER_LENGTH.lower().encode()
MEDIA_TYPES = ("application/json", "application/octet-stream")
# Also accepted: no type, and the form type that curl sends with any --data.
UNNAMED = ("", "application/x-www-form-urlencoded")

# Five images as JSON, or the JSON before any number of binary images: too little to parse for the
# switch to a thread.
INLINE_JSON_BYTES = 16 * 1024


async def server_metadata(request: Request) -> Response:
    """Serve `GET /v2`: the server's name, version and extensions."""
    return json_response({"name": SERVER, "version": SERVER_VERSION, "extensions": EXTENSIONS})


async def server_live(request: Request) -> Response:
    """Serve `GET /v2/health/live`: the process runs."""
    return json_response({"live": True})


async def server_ready(request: Request) -> Response:
    """Serve `GET /v2/health/ready`: the model is loaded and has passed its check."""
    _ = request.app.state.data_plane.ready_model
    # The protocol's text has the key live here, KServe's server and client have ready.
    return json_response({"live": True, "ready": True})


async def model_ready(request: Request) -> Response:
    """Serve `GET /v2/models/NAME[/versions/VERSION]/ready`."""
    data_plane: DataPlane = request.app.state.data_plane
    data_plane.check_running()
    model = _named(request, data_plane).model
    return json_response({"name": model.name, "ready": True})


async def model_metadata(request: Request) -> Response:
    """Serve `GET /v2/models/NAME[/versions/VERSION]`: the model's inputs and outputs."""
    data_plane: DataPlane = request.app.state.data_plane
    parameters = request.path_params
    return json_response(
        models.model_metadata(data_plane, parameters["name"], parameters.get("version"))
    )


async def infer(request: Request) -> Response:
    """Serve `POST /v2/models/NAME[/versions/VERSION]/infer`."""
    data_plane: DataPlane = request.app.state.data_plane
    with _named(request, data_plane) as served:
        read_query(request.scope["query_string"])
        _check_media_type(header(request, b"content-type") or "")
        encoding = header(request, b"content-encoding") or ""
        compressed = is_compressed(encoding)
        max_bytes = data_plane.settings.max_body_bytes
        body = await read_body(request, max_bytes)
        header_length = header(request, LENGTH_NAME)
        request_timing = timing(request.scope)

        with request_timing.decoding():
            if compressed:
                body = await read_in_thread(inflate, body, encoding, max_bytes)
                request.scope[INFLATED](len(body))
            parsed = await _parse(body, header_length, served.model.signature.image.shape)
        return await inference.run(served, parsed, request_timing, write_response)


async def _parse(body: bytes, header_length: str | None, image: Shape) -> InferenceRequest:
    """Return the parsed request; long JSON is parsed in a thread."""
    if _json_bytes(body, header_length) <= INLINE_JSON_BYTES:
        return parse_request(body, header_length, image)
    return await read_in_thread(parse_request, body, header_length, image)


def _named(request: Request, data_plane: DataPlane) -> ServedModel:
    """Return the model named in the request's path."""
    return data_plane.named(request.path_params["name"], request.path_params.get("version"))


def _json_bytes(body: bytes, header_length: str | None) -> int:
    """Return the bytes of a body that are JSON, by a header that is not validated yet."""
    length = LENGTH.fullmatch(header_length) if header_length else None
    return int(length[0]) if length else len(body)


def _check_media_type(content_type: str) -> None:
    kind = media_type(content_type)
    if kind not in MEDIA_TYPES and kind not in UNNAMED:
        raise UnsupportedType(
            f"Content-Type {kind[:60]} is not served: send {' or '.join(MEDIA_TYPES)}"
        )


MODEL, VERSION = "/v2/models/{name}", "/versions/{version}"
ROUTES = [
    Route("/v2/", server_metadata),
    Route("/v2", server_metadata),
    Route("/v2/health/live", server_live),
    Route("/v2/health/ready", server_ready),
    # The shorter path comes last: it is the route label of both in the metrics.
    Route(MODEL + VERSION, model_metadata),
    Route(MODEL, model_metadata),
    Route(MODEL + VERSION + "/ready", model_ready),
    Route(MODEL + "/ready", model_ready),
    Route(MODEL + VERSION + "/infer", infer, methods=["POST"]),
    Route(MODEL + "/infer", infer, methods=["POST"]),
]
