"""CORS: which pages of other origins may ask from a browser (WHATWG Fetch, section 3.3)."""

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
SHOWN = 60  # characters of a wrong origin or method that an error repeats


class CrossOrigin(CORSMiddleware):
    """Starlette's, with refusals in JSON."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the OPTIONS that a browser sends before a page's own request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        origin = request_headers["origin"]
        if self.is_allowed_origin(origin=origin):
            method = request_headers["access-control-request-method"]
            error = f"pages may ask by {', '.join(METHODS)}, got {method[:SHOWN]!r}"
        else:
            error = f"pages of {origin[:SHOWN]!r} may not ask: it is none of FASHION_CORS_ORIGINS"
        headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        return json_response({"error": error}, response.status_code, headers)


def cross_origin(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins, `*` for any, ask app; without cookies, for there are none.

    Any header may be sent: browsers, and libraries that trace or cache, add their own.
    """
    return CrossOrigin(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers="*",
        allow_private_network=True,  # where it is served on one, and a page elsewhere is allowed
        expose_headers=READ,
    )
