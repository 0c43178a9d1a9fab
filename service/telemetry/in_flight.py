"""How many requests a worker has in hand, as its metrics tell.

Prometheus looks every 15 seconds, and a queue comes and goes in milliseconds: what it gets is a
running mean, as the load average of a Unix machine is one.
"""

import asyncio
from collections.abc import Callable

SAMPLE_SECONDS = 0.1
MEAN_SECONDS = 10.0


async def sample_in_flight(in_hand: Callable[[], int]) -> None:
    """Look again and again how many requests are in hand, and tell Prometheus; never returns."""
    from service.telemetry.metrics import (
        REQUESTS_IN_FLIGHT,  # only a worker has a folder for metrics
    )

    mean = 0.0
    while True:
        mean += (in_hand() - mean) * SAMPLE_SECONDS / MEAN_SECONDS
        REQUESTS_IN_FLIGHT.set(mean)
        await asyncio.sleep(SAMPLE_SECONDS)
