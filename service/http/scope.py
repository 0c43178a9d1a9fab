"""What the parts of a worker leave for each other in the scope of a request (ASGI, HTTP)."""

from typing import Protocol

TASKS = "tasks"  # where the state of a scope has the set of the worker's running requests
CONNECTION = "fashion_lenet.connection"  # where a scope has its connection
ON_DISCONNECT = "fashion_lenet.on_leave"  # where a scope may have what to call if its client leaves
INFLATED = "fashion_lenet.inflated"  # where a scope has what to call for bytes beyond its body's


class Connection(Protocol):
    """The connection that a request came through."""

    def is_gone(self) -> bool:
        """Whether its client has left."""
