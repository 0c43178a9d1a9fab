"""The limit on a worker's load: the requests in flight that use it, over all transports."""

from collections.abc import Sized
from contextlib import AbstractContextManager

from service.errors import Overloaded


class LoadLimiter:
    """Counts the in-flight requests of a worker, and rejects more than it may have.

    Attributes:
        exempted: requests in flight that are not load at the moment.
    """

    def __init__(self, limit: int) -> None:
        """Limit the load to this many requests."""
        self.exempted = 0
        self._limit = limit
        self._transports: list[Sized] = []
        self._exemption = _Exemption(self)

    def track(self, requests: Sized) -> None:
        """Count the elements of a collection, in which a transport keeps its requests in flight.

        A small request runs without awaiting once it has begun. A queue is therefore seen only if
        requests are in the collection from their arrival, before they begin.
        """
        if all(requests is not known for known in self._transports):
            self._transports.append(requests)

    @property
    def in_flight(self) -> int:
        """The number of requests in flight, exempt or not."""
        return sum(map(len, self._transports))

    def rejection(self) -> Overloaded | None:
        """Return the error for the current request if the load, with it, exceeds the limit."""
        load = self.in_flight - self.exempted
        if load <= self._limit:
            return None
        return Overloaded(
            f"this worker has {load:,} requests in flight, the maximum is {self._limit:,}: "
            "try again"
        )

    def exempt(self) -> AbstractContextManager[None]:
        """Return a context in which one request is no load: it is in upload, or a probe.

        It can be kept, and entered by many requests at a time.
        """
        return self._exemption


class _Exemption(AbstractContextManager[None]):
    """A class, because contextlib's generators take 1.5 us."""

    def __init__(self, limiter: LoadLimiter) -> None:
        self._limiter = limiter

    def __enter__(self) -> None:
        self._limiter.exempted += 1

    def __exit__(self, *exception: object) -> None:
        self._limiter.exempted -= 1
