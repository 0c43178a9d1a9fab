"""One line for each request, as text or JSON, on standard output."""

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
TRACE_ID = "fashion_lenet.trace_id"  # where a scope has it, if requests are traced

# What several workers write to a pipe stays whole up to so many bytes (POSIX, PIPE_BUF).
PIPE_BUF = 4096
LONGEST_PATH = 500
LAID_OUT = 128  # paths, methods and clients are remembered as they are written
LONGEST_CLIENT = 64  # an address has 45 characters at most

LONGEST_ERROR = 300

FREE = frozenset(("client", "method", "path", "error"))  # may have what a client chose
UNQUOTED = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII without quote, equals sign, backslash
NO_PLAIN = re.compile("[^ -~]")


class AccessLog:
    """Writes what was asked, what was answered, and how long it took."""

    def __init__(self, style: Format, descriptor: int = STANDARD_OUTPUT) -> None:
        """Choose the style, `off` writing nothing, and the open file that takes the lines."""
        self._on = style != "off"
        self._lay_out = orjson.dumps if style == "json" else _text
        self._descriptor = descriptor
        self._ended: list[
            tuple[Scope, int, RequestTiming, str]
        ] = []  # requests without their lines

    def write(self, scope: Scope, status: int, timing: RequestTiming, error: str = "") -> None:
        """Write the line of one request; headers and query, where secrets travel, are left out.

        It is laid out and leaves with the lines of the other requests of this turn of the event
        loop, and not through `logging`, which takes 25 us a line, as long as an inference.
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
            for piece in _pieces([self._lay_out(_fields(now, *one)) + b"\n" for one in ended]):
                os.write(self._descriptor, piece)
        except OSError as error:  # a full disk is no reason to answer nobody
            logger.error("Lines of the access log are lost (%d): %s", len(ended), error)


def _fields(
    now: str, scope: Scope, status: int, timing: RequestTiming, error: str
) -> dict[str, Any]:
    client = scope.get("client")
    fields: dict[str, Any] = {
        "time": now,
        "request_id": scope[REQUEST_ID],
        "client": _plain(client[0].encode(), LONGEST_CLIENT) if client else None,
        "method": scope["method"],
        # As it was sent, with its percent signs: no line break or quote of a client's own.
        "path": _plain(scope.get("raw_path") or scope["path"].encode(), LONGEST_PATH),
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
    """Join lines, but never to more than stays whole in a pipe."""
    piece = b""
    for line in lines:
        if len(piece) + len(line) > PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    yield piece


def _text(fields: dict[str, Any]) -> bytes:
    """Lay the fields out as `name=value`; what a client chose is quoted, so that it stays one."""
    for name in FREE & fields.keys():
        fields[name] = _quoted(str(fields[name]))
    return " ".join(map("%s=%s".__mod__, fields.items())).encode()


@lru_cache(LAID_OUT)
def _quoted(text: str) -> str:
    return text if UNQUOTED.fullmatch(text) else orjson.dumps(text).decode()


def _plain_text(text: str) -> str:
    """Return text with escapes for what is no printable ASCII, and of a long one the beginning."""
    plain = NO_PLAIN.sub(lambda found: ascii(found[0])[1:-1], text[: LONGEST_ERROR + 1])
    return plain if len(plain) <= LONGEST_ERROR else f"{plain[:LONGEST_ERROR]}..."


@lru_cache(LAID_OUT)
def _plain(text: bytes, longest: int) -> str:
    """Return what is no ASCII as backslash escapes, and of what is too long the beginning."""
    plain = text[: longest + 1].decode("ascii", "backslashreplace")
    return plain if len(plain) <= longest else f"{plain[:longest]}..."
