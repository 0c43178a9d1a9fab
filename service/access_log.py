"""One line for each request, as text or JSON, on standard output."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from starlette.types import Scope

from service.timing import Timing

LOGGER = "fashion_lenet.access"

Format = Literal["text", "json", "off"]


class AccessLog:
    """Writes what was asked, what was answered, and how long it took."""

    def __init__(self, style: Format) -> None:
        """Choose the style; `off` writes nothing."""
        self._lay_out = {"text": _text, "json": _json, "off": None}[style]
        self._logger = logging.getLogger(LOGGER)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._logger.handlers[:] = [handler]

    def write(self, scope: Scope, request_id: str, status: int, timing: Timing) -> None:
        """Write the line of one request; headers and query, where secrets travel, are left out."""
        if self._lay_out is None:
            return
        client = scope.get("client")
        self._logger.info(
            self._lay_out(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "request_id": request_id,
                    "client": client[0] if client else None,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "decode_ms": round(timing.decode * 1e3, 3),
                    "inference_ms": round(timing.inference * 1e3, 3),
                    "total_ms": round(timing.total * 1e3, 3),
                }
            )
        )


def _text(fields: dict[str, Any]) -> str:
    """Lay the fields out as `name=value`; what a client chose is quoted, so that it stays one."""
    fields = {**fields, "method": _quoted(fields["method"]), "path": _quoted(fields["path"])}
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _json(fields: dict[str, Any]) -> str:
    return orjson.dumps({**fields, "path": _sendable(fields["path"])}).decode()


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and not set(text) & set(' "\\='):
        return text
    return orjson.dumps(_sendable(text)).decode()


def _sendable(text: str) -> str:
    """Replace what is no Unicode, which a path may hold and JSON may not."""
    return text.encode("utf-8", "backslashreplace").decode()
