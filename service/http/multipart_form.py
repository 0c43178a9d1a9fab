"""Parsing of multipart/form-data bodies (RFC 7578) in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from service.errors import InvalidInput, TooLarge

MAX_PARTS = 1000  # each costs far more than its bytes
LONGEST_BOUNDARY = 70  # RFC 2046, section 5.1.1; searching for a long one costs (CVE-2024-9056)


@dataclass
class Part:
    """One field of the form."""

    name: str
    filename: str  # empty if the client sends none
    content: bytes


def parse_multipart(body: bytes, content_type: str) -> Sequence[Part]:
    """Return the parts of a body, in order.

    Args:
        body: the whole body.
        content_type: the request's Content-Type, which names the boundary.

    Raises:
        InvalidInput: there is no boundary, or the body is malformed.
        TooLarge: it has more than `MAX_PARTS` parts.
    """
    parts: list[Part] = []
    try:
        boundary = _boundary(content_type)
        with PushMultipartParser(
            boundary, max_segment_count=MAX_PARTS, header_charset="latin-1"
        ) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    parts.append(_part(event))
                elif event is not None:
                    parts[-1].content = event  # in one chunk, as the body is
    except ParserLimitReached as error:
        if len(parts) == MAX_PARTS:
            raise TooLarge(
                f"the form has more than {MAX_PARTS:,} parts: send several forms"
            ) from error
        raise InvalidInput(f"the multipart body is malformed: {error}") from error
    except MultipartError as error:
        raise InvalidInput(f"the multipart body is malformed: {error}") from error
    return parts


def _boundary(content_type: str) -> str:
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise InvalidInput(
            "the Content-Type multipart/form-data has no boundary: let your client set it"
        )
    if len(boundary) > LONGEST_BOUNDARY:
        raise InvalidInput(
            f"the multipart boundary is malformed: it has {len(boundary):,} characters, "
            f"expected at most {LONGEST_BOUNDARY}"
        )
    return boundary


def _part(segment: MultipartSegment) -> Part:
    name = _as_utf_8(segment.name or "")
    if not name:
        raise InvalidInput(
            "a part of the multipart body has no name: "
            'give it Content-Disposition: form-data; name="image"'
        )
    return Part(name, _as_utf_8(segment.filename or ""), b"")


def _as_utf_8(text: str) -> str:
    """Return text that was decoded as Latin-1 (where any byte is valid), decoded as UTF-8."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")
