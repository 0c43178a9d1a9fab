"""Metrics of the requests of one transport, by route and status."""

from collections import defaultdict

import numpy as np

from service.telemetry.flusher import FLUSHER
from service.telemetry.metrics import REQUEST_DURATION, REQUESTS, STAGE_SECONDS, STAGES
from service.telemetry.request_timing import RequestTiming


class RequestMetrics:
    """Counts the requests that ended, and observes their times at the next flush."""

    def __init__(self) -> None:
        """Start with no requests."""
        # Seconds by route and status: from first byte to last, then of each stage.
        self._ended: defaultdict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
        FLUSHER.add(self._flush)

    def add(self, route: str, status: int, timing: RequestTiming) -> None:
        """Take a request that ended with this HTTP status, or that of the same meaning."""
        self._ended[route, status].append((timing.total, timing.decode, timing.inference))

    def _flush(self) -> None:
        ended, self._ended = self._ended, defaultdict(list)
        for (route, status), times in ended.items():
            seconds, *stages = np.array(times).T  # (N,) each
            REQUESTS.labels(route, status).inc(len(seconds))
            REQUEST_DURATION.labels(route).observe_many(seconds)
            for name, spent in zip(STAGES, stages, strict=True):
                STAGE_SECONDS.labels(name).observe_many(spent[spent > 0])
