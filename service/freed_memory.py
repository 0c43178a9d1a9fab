"""What a worker frees goes back to the system."""

import ctypes
import sys

# Of glibc's <malloc.h>. By itself glibc raises its threshold to the largest block that was ever
# freed, up to 32 MiB, and smaller ones stay in its heaps: 250 MiB after a few large pictures.
M_MMAP_THRESHOLD = -3
THRESHOLD_BYTES = 2**20

# And each thread that decodes pictures gets a heap of its own, in which the last small thing keeps
# all that was freed before it. Python's threads take turns anyway: two heaps do.
M_ARENA_MAX = -8
HEAPS = 2


def give_back_large_blocks() -> None:
    """Have glibc give each block of a mebibyte or more back at once, and keep few heaps."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, nor the need
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
            mallopt(M_ARENA_MAX, HEAPS)
