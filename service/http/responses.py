"""Responses with complete bodies, without streaming."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from starlette.responses import Response


class Answer(Response):
    """A response with a complete body; Starlette's own headers take three times as long."""

    def __init__(
        self,
        body: bytes,
        media_type: str,
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.body, self.media_type = body, media_type
        self.status_code, self.background = status, None
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        for name, value in headers.items():
            self.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return a JSON response."""
    return Answer(orjson.dumps(content), "application/json", status, headers or {})
