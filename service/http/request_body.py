"""Reading of a request's body, and of the headers that describe it."""

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.errors import TooLarge
from service.http.content_encoding import refuse_compressed

LONGEST_NUMBER = 18  # digits of a Content-Length that are read


def header(request: Request, name: bytes) -> str | None:
    """Return the first header with this lower-case name; Starlette's lookup takes 1.5 us."""
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters; empty if there is none."""
    return content_type.partition(";")[0].strip().lower()


async def read_plain_body(request: Request, max_bytes: int) -> bytes:
    """Return a body that is not compressed, read by `read_body`.

    Raises:
        PlainOnly: the body has a Content-Encoding.
        TooLarge, ClientDisconnect: from `read_body`.
    """
    refuse_compressed(header(request, b"content-encoding") or "")
    return await read_body(request, max_bytes)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body, of at most max_bytes.

    Raises:
        TooLarge: the body is longer, by its Content-Length or by what was received.
        ClientDisconnect: the client disconnected before the body was complete.
    """
    length = (header(request, b"content-length") or "").lstrip("0")
    if length.isdecimal() and (len(length) > LONGEST_NUMBER or int(length) > max_bytes):
        first = length[:LONGEST_NUMBER]
        shown = f"{int(first):,}" if first == length else f"{first}..."
        raise TooLarge(f"the body has {shown} bytes, {max_bytes:,} are the limit")
    message = await _receive(request)
    if not message.get("more_body", False) and len(message.get("body", b"")) <= max_bytes:
        return bytes(message.get("body", b""))  # a single chunk is not copied
    body = bytearray(message.get("body", b""))
    while len(body) <= max_bytes and message.get("more_body", False):
        message = await _receive(request)
        body += message.get("body", b"")
    if len(body) > max_bytes:
        raise TooLarge(f"the body has more than {max_bytes:,} bytes, the limit")
    return bytes(body)


async def _receive(request: Request) -> Message:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message
