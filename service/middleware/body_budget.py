"""A limit on the bytes of request bodies in a worker, and the choice of uploads to cancel.

A client that sends most of a large body and then waits must not block others: uploads that have
stalled longest are cancelled first, then the slowest. Small bodies are never rejected.
"""

import asyncio
import gc
from collections.abc import Callable

from service.errors import Overloaded
from service.malloc import give_back_freed

SMALL_BODY_BYTES = 64 * 1024
STILL_SECONDS = 1.0  # without a byte, after which an upload counts as stalled
RELEASED_BYTES = 2**20  # of large bodies, after which freed memory is given back
RELEASED_SECONDS = 1.0  # delay before that, and so also the shortest interval


class Body:
    """The bytes that one request holds: its body, and the inflated content of it."""

    __slots__ = ("bytes", "give_up", "last", "start")

    def __init__(self, start: float, give_up: Callable[[Overloaded], object]) -> None:
        """Start with no bytes.

        Args:
            start: the event loop's time at which the body began to arrive.
            give_up: cancels the request, with the error to send.
        """
        self.start = self.last = start
        self.give_up = give_up
        self.bytes = 0


class BodyBudget:
    """The bodies of a worker's requests.

    Attributes:
        bytes: size of all bodies together.
    """

    def __init__(self, most: int) -> None:
        """Limit the bytes of all bodies; small bodies are never rejected."""
        self.bytes = 0
        self._most = most
        self._uploads: set[Body] = set()  # large and incomplete bodies
        self._released = 0  # bytes of large bodies since freed memory was last given back

    def hold(self, body: Body, size: int, whole: bool) -> None:
        """Add bytes to a body; above the limit, cancel the slowest upload or this request.

        Raises:
            Overloaded: this request is cancelled.
        """
        body.bytes += size
        self.bytes += size
        if body.bytes <= SMALL_BODY_BYTES:
            return
        now = body.last = asyncio.get_running_loop().time()
        if whole:
            self._uploads.discard(body)
        else:
            self._uploads.add(body)
        while self.bytes > self._most and body.bytes:
            error = Overloaded(
                f"this worker holds {self.bytes:,} bytes of request bodies, the maximum is "
                f"{self._most:,}: try again"
            )
            slowest = min([*self._uploads, body], key=lambda one: _progress(one, now))
            self.release(slowest)
            if slowest is body:
                raise error
            slowest.give_up(error)

    def release(self, body: Body) -> None:
        """Subtract a body's bytes."""
        self.bytes -= body.bytes
        if body.bytes > SMALL_BODY_BYTES:
            self._uploads.discard(body)
            before = self._released
            self._released += body.bytes
            if before < RELEASED_BYTES <= self._released:
                asyncio.get_running_loop().call_later(RELEASED_SECONDS, self._give_back)
        body.bytes = 0

    def _give_back(self) -> None:
        """Give freed memory back to the system.

        An exception and its frames refer to each other, so the body of a failed request stays
        until the garbage collector runs. malloc keeps the chunks of bodies.
        """
        gc.collect()
        give_back_freed()
        self._released = 0


def _progress(body: Body, now: float) -> tuple[float, float]:
    """Return a sort key, smallest for the upload to cancel first."""
    still = now - body.last
    rate = body.bytes / (now - body.start + 1e-3)  # bytes a second
    return -still if still > STILL_SECONDS else 0.0, rate
