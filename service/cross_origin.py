"""CORS: which pages of other origins may ask from a browser (WHATWG Fetch, section 3.3)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

METHODS = ("GET", "POST")
SENT = (
    *("Authorization", "X-API-Key", "Content-Type", "Content-Encoding"),
    *("X-Request-ID", "traceparent", "tracestate", "Inference-Header-Content-Length"),
)
READ = (
    *("X-Request-ID", "X-Model-Version", "Retry-After", "Server-Timing"),
    *("WWW-Authenticate", "Inference-Header-Content-Length"),
)


def cross_origin(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins, `*` for any, ask app; without cookies, for there are none."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=READ,
    )
