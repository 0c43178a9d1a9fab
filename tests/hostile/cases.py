"""A hostile request, and the answer that it must get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.preprocessing.formats import SERVED

Body = bytes | Callable[[], bytes]  # a large one is made only when it is sent
Headers = Sequence[tuple[str, str]]

TIFF = "image/tiff"
TOO_LONG = "the image is not read in 2 s of CPU time"
TOO_MUCH = "the image takes more than 160 MiB of memory to decode"
BROKEN = "is broken or cut off: "
UNSUPPORTED = "of a kind that is not supported ("
NO_PICTURE = f"is not a {SERVED} file"


@dataclass(frozen=True)
class Case:
    """A request, the expected status, and a part of the expected error text.

    A status of 200 says that nothing is wrong: what looks hostile is taken as it is meant.
    """

    name: str
    status: int
    says: str
    body: Body = b""
    method: str = "POST"
    path: str = "/classify"
    headers: Headers = ()
    head: bytes | None = None  # sent in place of the four above

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else self.body()

    def request(self) -> bytes:
        """All bytes that are sent."""
        body = self.content()
        if self.head is not None:
            return self.head + body
        headers = list(self.headers)
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            headers.insert(0, ("Host", "x"))
        if names.isdisjoint(("content-length", "transfer-encoding")):
            headers.append(("Content-Length", str(len(body))))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def picture(
    name: str, body: Body, status: int, says: str = "", kind: str = "image/png", **more: Any
) -> Case:
    """A picture as the body of a request."""
    return Case(name, status, says, body, headers=[("Content-Type", kind)], **more)
