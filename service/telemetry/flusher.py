"""Batched metric updates, flushed every half second for all requests of that time.

An update of Prometheus's client takes 10 us, as long as the network's arithmetic, and Prometheus
scrapes every few seconds at most.
"""

import asyncio
from collections.abc import Callable

FLUSH_INTERVAL_SECONDS = 0.5


class MetricsFlusher:
    """Functions that update the metrics with the values collected since their last call."""

    def __init__(self) -> None:
        """Start with no functions."""
        self._callbacks: list[Callable[[], object]] = []

    def add(self, callback: Callable[[], object]) -> None:
        """Call this function at each flush."""
        self._callbacks.append(callback)

    def remove(self, callback: Callable[[], object]) -> None:
        """Call this function a last time, and no more."""
        self._callbacks.remove(callback)
        callback()

    def flush(self) -> None:
        """Call all functions, before a scrape or at exit."""
        for callback in self._callbacks:
            callback()

    async def run(self) -> None:
        """Flush every half second; never returns."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_SECONDS)
            for callback in self._callbacks:
                loop.call_soon(callback)  # an exception is logged, and ends no other's updates


FLUSHER = MetricsFlusher()  # of this process, as Prometheus's REGISTRY
