"""Protobuf messages as bytes.

Source of the encoding: `programming-guides/encoding` of protobuf.dev.
"""

from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from service.errors import InvalidInput
from service.middleware.body_budget import SMALL_BODY_BYTES

# Two bytes can be a field that takes a hundred in memory. No message of ours has so many fields:
# the elements of a tensor are one.
MOST_FIELDS = 10_000


def read_message(kind: type[Any], content: bytes) -> Any:
    """Return a message of this kind.

    Raises:
        InvalidInput: the content is not one, or a large one has too many fields.
    """
    try:
        if len(content) > SMALL_BODY_BYTES:
            _count_fields(content, 0, len(content), kind.DESCRIPTOR, 0)
        return kind.FromString(content)
    except (DecodeError, IndexError) as error:
        raise InvalidInput(f"the message is no {kind.DESCRIPTOR.name}: {error}") from None


def _count_fields(content: bytes, start: int, end: int, kind: Descriptor, before: int) -> int:
    """Return how many fields there are from start to end, after others, and in messages there.

    Raises:
        InvalidInput: there are too many.
        IndexError: the content ends within a number.
        DecodeError: it has a type of field that no program writes.
    """
    found = before
    while start < end:
        found += 1
        if found > MOST_FIELDS:
            raise InvalidInput(
                f"the message has more than {MOST_FIELDS:,} fields; the elements of a tensor are "
                "one field, if they are packed"
            )
        tag, start = _read_varint(content, start)
        match tag & 7:
            case 0:  # a number
                _, start = _read_varint(content, start)
            case 1:  # 8 bytes
                start += 8
            case 2:  # a length, and so many bytes
                size, start = _read_varint(content, start)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    inner = min(start + size, end)
                    found = _count_fields(content, start, inner, field.message_type, found)
                start += size
            case 5:  # 4 bytes
                start += 4
            case other:
                raise DecodeError(f"type {other} of a field")
    return found


def _read_varint(content: bytes, start: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = content[start]
        value, start = value | (byte & 0x7F) << shift, start + 1
        if byte <= 0x7F:
            return value, start
    raise DecodeError("a number of more than 64 bits")


def varint(value: int) -> bytes:
    """Return a number in protobuf's encoding: 7 bits in each byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
