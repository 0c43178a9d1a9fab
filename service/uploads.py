"""The picture in a request: the body itself, or the part of a form called `image`."""

from starlette.requests import Request

from service.errors import InvalidInput, TooLarge, UnsupportedType
from service.images import FORMATS
from service.multipart import parse_multipart

FIELD = "image"
FORM = "multipart/form-data"


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """Return the bytes of the one picture that a request carries.

    Raises:
        UnsupportedType: the body is neither a form nor a picture of a type served.
        TooLarge: the body has more bytes than the limit.
        InvalidInput: the form has no field `image`, more than one, or is malformed.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != FORM and media_type not in FORMATS:
        raise UnsupportedType(
            f"Content-Type {media_type or '(none)'} is not served: send {FORM} with a field "
            f"{FIELD!r}, or a picture as {', '.join(FORMATS)}"
        )
    body = await read_body(request, max_bytes)
    return body if media_type != FORM else _image_part(body, content_type)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body into memory, but no more of it than the limit.

    Raises:
        TooLarge: it says that it is longer, or turns out to be.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(f"{int(length):,}", max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(f"more than {max_bytes:,}", max_bytes)
    return bytes(body)


def _too_large(found: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"the body has {found} bytes, {max_bytes:,} are the limit")


def _image_part(body: bytes, content_type: str) -> bytes:
    parts = parse_multipart(body, content_type)
    images = [part.content for part in parts if part.name == FIELD]
    if len(images) != 1:
        names = ", ".join(repr(part.name) for part in parts[:5]) or "none"
        raise InvalidInput(
            f"the form has {len(images)} fields called {FIELD!r} and should have one; "
            f"its fields: {names}"
        )
    return images[0]
