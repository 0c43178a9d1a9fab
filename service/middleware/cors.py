"""CORS: which origins may send requests from a browser (WHATWG Fetch, section 3.3)."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from service.http.responses import json_response

METHODS = ("GET", "HEAD", "POST")
READ = (
    *("X-Request-ID", "X-Model-Version", "Retry-After", "Server-Timing"),
    *("WWW-Authenticate", "Inference-Header-Content-Length", "Accept-Encoding", "Allow"),
)
SHOWN = 60  # characters of a rejected origin or method in an error


class CrossOrigin(CORSMiddleware):
    """Starlette's CORS middleware, with errors in JSON."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to the OPTIONS request that a browser sends first."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        origin = request_headers["origin"]
        if self.is_allowed_origin(origin=origin):
            method = request_headers["access-control-request-method"]
            error = f"the method is {method[:SHOWN]!r}, expected one of {', '.join(METHODS)}"
        else:
            error = f"origin {origin[:SHOWN]!r} is not allowed: add it to FASHION_CORS_ORIGINS"
        headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        return json_response({"error": error}, response.status_code, headers)


def cross_origin(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Wrap app to allow requests from these origins, `*` for any; there are no cookies.

    Any header is allowed: browsers, and libraries for tracing or caching, add their own.
    """
    return CrossOrigin(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers="*",
        allow_private_network=True,  # for a service on a private network and a page outside it
        expose_headers=READ,
    )
