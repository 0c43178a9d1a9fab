"""The access log: one line for each request, as text or JSON, on standard output."""

import asyncio
import logging
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import orjson
from starlette.types import Scope

from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_timing import RequestTiming

logger = logging.getLogger("bentoml.fashion_lenet")

Format = Literal["text", "json", "off"]
STANDARD_OUTPUT = 1
TRACE_ID = "fashion_lenet.trace_id"  # key in a scope, if requests are traced

# Writes of several workers to a pipe are atomic up to this many bytes (POSIX, PIPE_BUF).
PIPE_BUF = 4096
MAX_LOGGED_PATH = 500
FORMAT_CACHE_SIZE = 128  # formatted paths, methods and clients that are cached
MAX_CLIENT_LENGTH = 64  # an address has 45 characters at most

MAX_LOGGED_ERROR = 300

FREE = frozenset(("client", "method", "path", "error"))  # fields with text from the client
UNQUOTED = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII without quote, equals sign, backslash
NO_PLAIN = re.compile("[^ -~]")


class AccessLog:
    """Write the request, the status and the duration of each request."""

    def __init__(self, style: Format, descriptor: int = STANDARD_OUTPUT) -> None:
        """Set the style (`off` writes nothing) and the file descriptor for the lines."""
        self._on = style != "off"
        self._format = orjson.dumps if style == "json" else _text
        self._descriptor = descriptor
        self._ended: list[
            tuple[Scope, int, RequestTiming, str]
        ] = []  # requests without their lines

    def write(self, scope: Scope, status: int, timing: RequestTiming, error: str = "") -> None:
        """Write the line of one request, without headers and query, which may hold secrets.

        Lines are formatted and written together once per event loop iteration, and not through
        `logging`, which takes 25 us a line, as long as an inference.
        """
        if not self._on:
            return
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._flush)
        self._ended.append((scope, status, timing, error))

    def _flush(self) -> None:
        ended, self._ended = self._ended, []
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            for piece in _pieces([self._format(_fields(now, *one)) + b"\n" for one in ended]):
                os.write(self._descriptor, piece)
        except OSError as error:  # requests are served even if the disk is full
            logger.error("Lines of the access log are lost (%d): %s", len(ended), error)


def _fields(
    now: str, scope: Scope, status: int, timing: RequestTiming, error: str
) -> dict[str, Any]:
    client = scope.get("client")
    fields: dict[str, Any] = {
        "time": now,
        "request_id": scope[REQUEST_ID],
        "client": _plain(client[0].encode(), MAX_CLIENT_LENGTH) if client else None,
        "method": scope["method"],
        # As sent, percent-encoded: a client cannot put a line break or a quote into it.
        "path": _plain(scope.get("raw_path") or scope["path"].encode(), MAX_LOGGED_PATH),
        "status": status,
        "decode_ms": round(timing.decode * 1e3, 3),
        "inference_ms": round(timing.inference * 1e3, 3),
        "total_ms": round(timing.total * 1e3, 3),
    }
    if trace_id := scope.get(TRACE_ID):
        fields["trace_id"] = trace_id
    if error:
        fields["error"] = _plain_text(error)
    return fields


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield joined lines of at most `PIPE_BUF` bytes."""
    piece = b""
    for line in lines:
        if len(piece) + len(line) > PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    yield piece


def _text(fields: dict[str, Any]) -> bytes:
    """Return the fields as `name=value`; text from the client is quoted, so it stays one field."""
    for name in FREE & fields.keys():
        fields[name] = _quoted(str(fields[name]))
    return " ".join(map("%s=%s".__mod__, fields.items())).encode()


@lru_cache(FORMAT_CACHE_SIZE)
def _quoted(text: str) -> str:
    return text if UNQUOTED.fullmatch(text) else orjson.dumps(text).decode()


def _plain_text(text: str) -> str:
    """Return text with escapes for all but printable ASCII; a long text is truncated."""
    plain = NO_PLAIN.sub(lambda found: ascii(found[0])[1:-1], text[: MAX_LOGGED_ERROR + 1])
    return plain if len(plain) <= MAX_LOGGED_ERROR else f"{plain[:MAX_LOGGED_ERROR]}..."


@lru_cache(FORMAT_CACHE_SIZE)
def _plain(text: bytes, longest: int) -> str:
    """Return text with backslash escapes for non-ASCII bytes; a long text is truncated."""
    plain = text[: longest + 1].decode("ascii", "backslashreplace")
    return plain if len(plain) <= longest else f"{plain[:longest]}..."
