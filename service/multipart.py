"""The parts of a multipart/form-data body (RFC 7578) that is in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from service.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


MAX_PARTS = 1000  # each costs far more than its bytes


@dataclass
class Part:
    """One field of the form."""

    name: str
    filename: str  # empty where the client gives none
    content: bytes


def parse_multipart(body: bytes, content_type: str) -> Sequence[Part]:
    """Split a body into its parts, in order.

    Args:
        body: the whole body.
        content_type: the request's Content-Type, which names the boundary.

    Raises:
        InvalidInput: there is no boundary, or the body does not keep to it.
        TooLarge: it has more than `MAX_PARTS` parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidInput(
            "the Content-Type multipart/form-data names no boundary: let your client set it"
        )
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidInput(f"the multipart body is malformed: {error}") from error
    if not collector.ended:
        raise InvalidInput("the multipart body is cut off: its closing boundary is missing")
    return collector.parts


class _Collector:
    """Gathers what the parser calls back with."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._header_name = b""
        self._header_value = b""
        self._name: str | None = None
        self._filename = ""
        self._content: list[bytes] = []

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise TooLarge(f"the form has more than {MAX_PARTS:,} parts: send several forms")
        self._name = None
        self._content = []

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            options = parse_options_header(self._header_value)[1]
            name = options.get(b"name")
            self._name = None if name is None else name.decode("utf-8", "replace")
            self._filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _headers(self) -> None:
        if self._name is None:
            raise InvalidInput(
                "a part of the multipart body has no name: "
                'give it Content-Disposition: form-data; name="image"'
            )

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end(self) -> None:
        self.parts.append(Part(self._name or "", self._filename, b"".join(self._content)))

    def _finish(self) -> None:
        self.ended = True
