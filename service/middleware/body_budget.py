"""How many bytes of bodies a worker holds, and which upload goes where they are too many.

A client that sends nearly all of a large body and then waits must not keep others out: what has
stood still for long goes first, then what comes slowest. Small bodies always fit.
"""

import asyncio
import gc
from collections.abc import Callable

from service.errors import Overloaded
from service.malloc import give_back_freed

SMALL_BYTES = 64 * 1024
STILL_SECONDS = 1.0  # without a byte, after which an upload stands still
RELEASED_BYTES = 2**20  # of large bodies, after which freed memory is given back
RELEASED_SECONDS = 1.0  # later, and so no more often


class Body:
    """What one request holds of its body, and of what that has been inflated to."""

    __slots__ = ("bytes", "give_up", "last", "start")

    def __init__(self, start: float, give_up: Callable[[Overloaded], object]) -> None:
        """Hold nothing yet.

        Args:
            start: the event loop's time at which it began to come.
            give_up: ends the request, with what to answer.
        """
        self.start = self.last = start
        self.give_up = give_up
        self.bytes = 0


class BodyBudget:
    """The bodies of a worker's requests.

    Attributes:
        bytes: of all bodies.
    """

    def __init__(self, most: int) -> None:
        """Hold at most so many bytes of bodies that are not small."""
        self.bytes = 0
        self._most = most
        self._uploads: set[Body] = set()  # that are large, and not whole
        self._released = 0  # bytes of large bodies since freed memory was last given back

    def hold(self, body: Body, size: int, whole: bool) -> None:
        """Hold more of a body; where that is too much, give up an upload or this request.

        Raises:
            Overloaded: it is this request.
        """
        body.bytes += size
        self.bytes += size
        if body.bytes <= SMALL_BYTES:
            return
        now = body.last = asyncio.get_running_loop().time()
        if whole:
            self._uploads.discard(body)
        else:
            self._uploads.add(body)
        while self.bytes > self._most and body.bytes:
            error = Overloaded(
                f"this worker has {self.bytes:,} bytes of requests in hand, its most is "
                f"{self._most:,}: try again"
            )
            slowest = min([*self._uploads, body], key=lambda one: _progress(one, now))
            self.release(slowest)
            if slowest is body:
                raise error
            slowest.give_up(error)

    def release(self, body: Body) -> None:
        """Hold nothing of a body any more."""
        self._uploads.discard(body)
        self.bytes -= body.bytes
        if body.bytes > SMALL_BYTES:
            before = self._released
            self._released += body.bytes
            if before < RELEASED_BYTES <= self._released:
                asyncio.get_running_loop().call_later(RELEASED_SECONDS, self._give_back)
        body.bytes = 0

    def _give_back(self) -> None:
        """Give freed memory back to the system.

        An error that ended a request refers to its frames, and they to it: its body stays until
        the garbage collector runs. malloc keeps the pieces that a body came in.
        """
        gc.collect()
        give_back_freed()
        self._released = 0


def _progress(body: Body, now: float) -> tuple[float, float]:
    """Return what is least for the upload that goes first."""
    still = now - body.last
    rate = body.bytes / (now - body.start + 1e-3)  # bytes a second
    return -still if still > STILL_SECONDS else 0.0, rate
