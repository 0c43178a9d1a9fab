"""What the metrics are told waits half a second, and is told for all requests of that time at once.

To tell Prometheus's client of one request takes 10 us, as much as the network's arithmetic, and
Prometheus looks every few seconds at most.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar

FLUSH_INTERVAL_SECONDS = 0.5


class MetricsFlusher:
    """Calls functions a little after it was first wanted."""

    _wanted: ClassVar[set["MetricsFlusher"]] = set()

    def __init__(self, *tell: Callable[[], object]) -> None:
        """Call each of tell, which takes what has come together until then."""
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """On the event loop: have them called within half a second, once for all that want it."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_SECONDS, self.flush)
            self._wanted.add(self)

    def flush(self) -> None:
        """Call them now, for what waits and what never asked."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._wanted.discard(self)
        for tell in self._tell:
            tell()

    @classmethod
    def flush_all(cls) -> None:
        """On the event loop: call all that are wanted, as before somebody looks or the end."""
        for telling in list(cls._wanted):
            telling.flush()
