"""Batched metric updates, flushed every half second for all requests of that time.

An update of Prometheus's client takes 10 us, as long as the network's arithmetic, and Prometheus
scrapes every few seconds at most.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar

FLUSH_INTERVAL_SECONDS = 0.5


class MetricsFlusher:
    """Call functions half a second after the first request to do so."""

    _scheduled: ClassVar[set["MetricsFlusher"]] = set()

    def __init__(self, *callbacks: Callable[[], object]) -> None:
        """Call each of callbacks, which flush the values collected until then."""
        self._callbacks = callbacks
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """On the event loop: flush within half a second, once for all calls until then."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_SECONDS, self.flush)
            self._scheduled.add(self)

    def flush(self) -> None:
        """Call the callbacks now, whether a flush is scheduled or not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._scheduled.discard(self)
        for callback in self._callbacks:
            callback()

    @classmethod
    def flush_all(cls) -> None:
        """On the event loop: flush all that are scheduled, before a scrape or at exit."""
        for flusher in list(cls._scheduled):
            flusher.flush()
