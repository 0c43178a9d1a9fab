"""Numbers that files claim, and bytes that no codec makes small."""

import numpy as np
from hypothesis import strategies as st

# Pixels of a side: the network's own, those about a photograph's, and the largest of all kinds.
SIDES = st.one_of(
    st.sampled_from([1, 16, 28, 29, 64, 256, 1024, 4096, 5656, 16_384, 32_767, 46_336, 65_535]),
    st.integers(1, 8000),
)
LENGTHS = st.sampled_from([1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000])


def noise(length: int, seed: int = 0) -> bytes:
    """The same bytes for the same seed."""
    return np.random.default_rng(seed).bytes(length)


def within(width: int, height: int, most: int = 32_000_000) -> tuple[int, int]:
    """A size of as many pixels as the service takes."""
    return width, max(1, min(height, most // width))
