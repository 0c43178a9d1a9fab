"""Protobuf messages of clients."""

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
        raise InvalidInput(f"the message is not a {kind.DESCRIPTOR.name}: {error}") from None
