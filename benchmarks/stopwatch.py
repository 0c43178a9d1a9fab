"""How long one call takes, the median and the slowest hundredth of many; and for which counts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FEWEST = 3  # calls, however long they take


@dataclass(frozen=True)
class Pace:
    """The times of calls, each for a number of images."""

    images_per_second: float
    p50_us: float
    p99_us: float


def pace(
    call: Callable[[], object],
    images: int,
    seconds: float,
    before: Callable[[], object] | None = None,
) -> Pace:
    """Call something again and again for so long.

    Args:
        call: returns when its result is in the CPU's memory. It is called once to warm up.
        images: how many it computes.
        seconds: for how long.
        before: is called before each call, and not counted.
    """
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        if before is not None:
            before()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    p50, p99 = np.percentile(times, [50, 99])
    return Pace(images * len(times) / sum(times), p50 * 1e6, p99 * 1e6)


def counts(text: str) -> tuple[int, ...]:
    """Read the counts of a command line, "1,4,16"."""
    return tuple(map(int, text.split(",")))
