"""How long the parts of a request take, for `Server-Timing` and the log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope

KEY = "fashion_lenet.timing"


class Timing:
    """The stopwatch of one request; seconds."""

    __slots__ = ("decode", "inference", "start")

    def __init__(self) -> None:
        """Start it."""
        self.start = time.perf_counter()
        self.decode = 0.0  # from bytes to the array that the network sees
        self.inference = 0.0  # the network, and waiting for the batch before

    @property
    def total(self) -> float:
        """What has passed since the request came."""
        return time.perf_counter() - self.start

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Count the block as decoding."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.decode += time.perf_counter() - start

    @contextmanager
    def inferring(self) -> Iterator[None]:
        """Count the block as inference."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.inference += time.perf_counter() - start

    def header(self) -> str:
        """The same as a `Server-Timing` header (W3C, Server Timing, section 4), in milliseconds."""
        return (
            f"decode;dur={self.decode * 1e3:.3f}, inference;dur={self.inference * 1e3:.3f}, "
            f"total;dur={self.total * 1e3:.3f}"
        )


def timing(scope: Scope) -> Timing:
    """Return the stopwatch of a request, which `service.observation` started."""
    found: Timing = scope[KEY]
    return found
