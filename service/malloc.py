"""What is freed: a worker gives it back to the system, a process that repeats its work keeps it."""

import ctypes
import sys

# Of glibc's <malloc.h>. By itself glibc raises its threshold to the largest block that was ever
# freed, up to 32 MiB, and smaller ones stay in its heaps: 250 MiB after a few large pictures.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
THRESHOLD_BYTES = 2**20
KEPT_BYTES = 64 * 2**20

# And each thread that decodes pictures gets a heap of its own, in which the last small thing keeps
# all that was freed before it. Python's threads take turns anyway: two heaps do.
M_ARENA_MAX = -8
HEAPS = 2


def tune_malloc_for_server() -> None:
    """Have glibc give each block of a mebibyte or more back at once, and keep few heaps."""
    _mallopt({M_MMAP_THRESHOLD: THRESHOLD_BYTES, M_ARENA_MAX: HEAPS})


def give_back_freed() -> None:
    """Have glibc give back what lies free in its heaps now."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def tune_malloc_for_batch() -> None:
    """Have glibc keep up to 64 MiB, where what one piece of work needs is what the next one needs.

    By itself it gives large blocks back each time, and has them cleared again: a fifth of the
    time, with JSON lines.
    """
    _mallopt({M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES})


def _mallopt(options: dict[int, int]) -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, nor the need
        if mallopt is not None:
            for option, value in options.items():
                mallopt(option, value)
