"""Keys under which the parts of a worker share data in a request's ASGI scope."""

from typing import Protocol

CONNECTION = "fashion_lenet.connection"  # the request's connection
ON_DISCONNECT = "fashion_lenet.on_leave"  # an optional callback for when the client disconnects
INFLATED = "fashion_lenet.inflated"  # a callback for bytes in addition to those of the body


class Connection(Protocol):
    """The connection of a request."""

    def is_closing(self) -> bool:
        """Return whether the client has disconnected."""
