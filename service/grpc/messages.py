"""Protobuf messages as bytes.

Source of the encoding: `programming-guides/encoding` of protobuf.dev.
"""

from typing import Any

from google.protobuf.message import DecodeError

from service.errors import InvalidInput


def read_message(kind: type[Any], content: bytes) -> Any:
    """Return a message of this kind.

    Raises:
        InvalidInput: the content is not one.
    """
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise InvalidInput(f"the message is no {kind.DESCRIPTOR.name}: {error}") from None


def varint(value: int) -> bytes:
    """Return a number in protobuf's encoding: 7 bits in each byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
