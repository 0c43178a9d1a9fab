"""The images in a request: the body itself, or the parts of a form."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from starlette.requests import Request

from service.errors import InvalidInput, UnsupportedType
from service.http.multipart_form import Part, parse_multipart
from service.http.query import MODEL, QueryOptions, parse_options
from service.http.request_body import header, media_type, read_plain_body
from service.http.single_part_form import read_plain_form
from service.preprocessing.formats import MEDIA_TYPES
from service.signature import ModelSignature

FIELD, BATCH_FIELD = "image", "images"
FORM = "multipart/form-data"
INLINE_FORM_BYTES = 64 * 1024  # of a form that is split on the event loop
FORMS = ThreadPoolExecutor(1, "forms")
# Accepted besides any image/...: what clients send if they do not know the type. The bytes decide.
UNKNOWN = ("", "*/*", "application/octet-stream", "binary/octet-stream")
LONGEST_CHOICE = 100  # bytes of a form field with an option


class Upload(NamedTuple):
    """One image of a form."""

    name: str  # the client's file name; may be empty
    content: bytes


async def read_upload(
    request: Request, query: Mapping[str, str], max_bytes: int, signature: ModelSignature
) -> tuple[bytes, QueryOptions]:
    """Return the bytes of a request's one image, and the request's options.

    Args:
        request: may have the options in its form.
        query: its parameters, among them the options.
        max_bytes: limit of the body.
        signature: of the model, which the options depend on.

    Raises:
        UnsupportedType: the body is neither a form nor possibly an image, or it is encoded.
        TooLarge: the body has more bytes, or the form more parts, than the limit.
        InvalidInput: the form has no field `image`, has several, or is malformed; or as in
            `parse_options`.
    """
    choices = parse_options(query, signature)
    content_type = header(request, b"content-type") or ""
    kind = media_type(content_type)
    if kind != FORM and kind not in UNKNOWN and not kind.startswith("image/"):
        raise UnsupportedType(
            f"Content-Type {kind[:60]} is not served: send {FORM} with a field {FIELD!r}, or a "
            f"picture as {', '.join(MEDIA_TYPES)}, or as application/octet-stream"
        )
    body = await read_plain_body(request, max_bytes)
    if kind != FORM:
        return body, choices
    if (content := read_plain_form(body, content_type, FIELD)) is not None:
        return content, choices
    parts = await _parse(body, content_type)
    images = [part.content for part in parts if part.name == FIELD]
    if len(images) != 1:
        raise InvalidInput(
            f"the form has {len(images)} fields called {FIELD!r} and should have one; "
            f"its fields: {_names(parts)}"
        )
    return images[0], parse_options(query, signature, _choosing(parts))


async def read_uploads(
    request: Request, query: Mapping[str, str], max_bytes: int, signature: ModelSignature
) -> tuple[Sequence[Upload], QueryOptions]:
    """Return the images of a batch request, in order, at least one, and the request's options.

    Args:
        request: may have the options in its form.
        query: its parameters, among them the options.
        max_bytes: limit of the body.
        signature: of the model, which the options depend on.

    Raises:
        UnsupportedType: the body is not a form, or it is encoded.
        TooLarge: the body has more bytes, or the form more parts, than the limit.
        InvalidInput: the form has no field `images`, or is malformed; or as in
            `parse_options`.
    """
    parse_options(query, signature)  # before the body
    content_type = header(request, b"content-type") or ""
    kind = media_type(content_type)
    if kind != FORM:
        raise UnsupportedType(
            f"Content-Type {kind[:60] or '(none)'} is not served here: send {FORM} with fields "
            f"{BATCH_FIELD!r}, one for each picture"
        )
    parts = await _parse(await read_plain_body(request, max_bytes), content_type)
    uploads = [Upload(part.filename, part.content) for part in parts if part.name == BATCH_FIELD]
    if not uploads:
        raise InvalidInput(
            f"the form has no field called {BATCH_FIELD!r} and should have one for each picture; "
            f"its fields: {_names(parts)}"
        )
    return uploads, parse_options(query, signature, _choosing(parts))


async def _parse(body: bytes, content_type: str) -> Sequence[Part]:
    """Return a form's parts; a large form is split in a thread, since this takes up to 20 ms."""
    if len(body) <= INLINE_FORM_BYTES:
        return parse_multipart(body, content_type)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(FORMS, parse_multipart, body, content_type)


def _choosing(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Return the fields of a form that are options.

    Raises:
        InvalidInput: one names a model, which is chosen before the form is read.
    """
    if any(part.name == MODEL for part in parts):
        raise InvalidInput(
            f"the form has a field {MODEL!r}: send it in the query, as ?{MODEL}=NAME"
        )
    return [
        (part.name, part.content[:LONGEST_CHOICE].decode("utf-8", "replace"))
        for part in parts
        if part.name in QueryOptions._fields
    ]


def _names(parts: Sequence[Part]) -> str:
    return ", ".join(repr(part.name[:40]) for part in parts[:5]) or "none"
