"""Settings of glibc's malloc: a worker returns freed memory to the system, a batch job keeps it."""

import ctypes
import sys

# From glibc's <malloc.h>. By default glibc raises its threshold to the largest block freed so far,
# up to 32 MiB, and keeps smaller ones in its heaps: 250 MiB after a few large images.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
THRESHOLD_BYTES = 2**20
KEPT_BYTES = 64 * 2**20

# By default each thread that decodes images has its own heap, in which the last small block keeps
# all freed memory below it. Python's threads take turns anyway, so two heaps are enough.
M_ARENA_MAX = -8
HEAPS = 2


def tune_malloc_for_server() -> None:
    """Make glibc return each block of 1 MiB or more at once, and use at most two heaps."""
    _mallopt({M_MMAP_THRESHOLD: THRESHOLD_BYTES, M_ARENA_MAX: HEAPS})


def give_back_freed() -> None:
    """Return the free memory in glibc's heaps to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def tune_malloc_for_batch() -> None:
    """Make glibc keep up to 64 MiB of freed memory, for work that repeats the same allocations.

    By default it returns large blocks each time, and the system clears them again, which takes a
    fifth of the time with JSON lines.
    """
    _mallopt({M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES})


def _mallopt(options: dict[int, int]) -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and needs none
        if mallopt is not None:
            for option, value in options.items():
                mallopt(option, value)
