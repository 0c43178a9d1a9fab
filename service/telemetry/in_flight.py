"""The metric of a worker's in-flight requests.

Prometheus scrapes every 15 seconds, and a queue comes and goes in milliseconds. The metric is
therefore a running mean, like the load average of a Unix machine.
"""

import asyncio
from collections.abc import Callable

SAMPLE_SECONDS = 0.1
MEAN_SECONDS = 10.0


async def sample_in_flight(in_flight: Callable[[], int]) -> None:
    """Update the mean number of in-flight requests every 0.1 seconds; never returns."""
    from service.telemetry.metrics import (
        REQUESTS_IN_FLIGHT,  # only a worker has a folder for metrics
    )

    mean = 0.0
    while True:
        mean += (in_flight() - mean) * SAMPLE_SECONDS / MEAN_SECONDS
        REQUESTS_IN_FLIGHT.set(mean)
        await asyncio.sleep(SAMPLE_SECONDS)
