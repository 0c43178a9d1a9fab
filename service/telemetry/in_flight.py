"""The metric of a worker's in-flight requests.

Prometheus scrapes every 15 seconds, and a queue comes and goes in milliseconds. The metric is
therefore a running mean, like the load average of a Unix machine.
"""

import asyncio
from typing import Protocol

from service.telemetry.metrics import REQUESTS_IN_FLIGHT

SAMPLE_SECONDS = 0.1
MEAN_SECONDS = 10.0


class Load(Protocol):
    """Has the number of a worker's in-flight requests."""

    @property
    def in_flight(self) -> int:
        """The number of requests."""


async def sample_in_flight(load: Load) -> None:
    """Update the mean number of in-flight requests every 0.1 seconds; never returns."""
    mean = 0.0
    while True:
        mean += (load.in_flight - mean) * SAMPLE_SECONDS / MEAN_SECONDS
        REQUESTS_IN_FLIGHT.set(mean)
        await asyncio.sleep(SAMPLE_SECONDS)
