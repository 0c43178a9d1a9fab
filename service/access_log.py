"""One line for each request, as text or JSON, on standard output."""

import logging
import os
import re
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from starlette.types import Scope

from service.timing import Timing

logger = logging.getLogger("bentoml.fashion_lenet")

Format = Literal["text", "json", "off"]
STANDARD_OUTPUT = 1
TRACE_ID = "fashion_lenet.trace_id"  # where a scope has it, if requests are traced

# Lines of several workers stay whole in a pipe if they are shorter than PIPE_BUF, 4096 bytes.
LONGEST_PATH = 500
LONGEST_CLIENT = 64  # an address has 45 characters at most

UNQUOTED = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII without quote, equals sign, backslash


class AccessLog:
    """Writes what was asked, what was answered, and how long it took."""

    def __init__(self, style: Format, descriptor: int = STANDARD_OUTPUT) -> None:
        """Choose the style, `off` writing nothing, and the open file that takes the lines."""
        self._lay_out = {"text": _text, "json": orjson.dumps, "off": None}[style]
        self._descriptor = descriptor

    def write(self, scope: Scope, request_id: str, status: int, timing: Timing) -> None:
        """Write the line of one request; headers and query, where secrets travel, are left out."""
        if self._lay_out is None:
            return
        client = scope.get("client")
        fields: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": request_id,
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
        try:
            # At once, and not through `logging`, which takes 25 us, as long as an inference.
            os.write(self._descriptor, self._lay_out(fields) + b"\n")
        except OSError as error:  # a full disk is no reason to answer nobody
            logger.error("The line of request %s is lost: %s", request_id, error)


def _text(fields: dict[str, Any]) -> bytes:
    """Lay the fields out as `name=value`; what a client chose is quoted, so that it stays one."""
    for name in ("client", "method", "path"):
        fields[name] = _quoted(str(fields[name]))
    return " ".join([f"{name}={value}" for name, value in fields.items()]).encode()


def _quoted(text: str) -> str:
    return text if UNQUOTED.fullmatch(text) else orjson.dumps(text).decode()


def _plain(text: bytes, longest: int) -> str:
    """Return what is no ASCII as backslash escapes, and of what is too long the beginning."""
    plain = text[: longest + 1].decode("ascii", "backslashreplace")
    return plain if len(plain) <= longest else f"{plain[:longest]}..."
