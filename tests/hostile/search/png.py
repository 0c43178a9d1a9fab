"""PNG files of all sizes, depths and ways to hold their pixels (W3C, PNG, third edition)."""

import zlib
from functools import partial

from hypothesis import strategies as st

from tests.hostile.png import (
    CHANNELS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    header,
)
from tests.hostile.search.sizes import LENGTHS, SIDES, noise, within

NAMES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"gAMA", b"pHYs", b"fdAT", b"sBIT")


def made(
    size: tuple[int, int], colour: int, depth: int, interlaced: int, filtering: int,
    pieces: int, repeated: int, extra: tuple[bytes, int, bool, int], share: float
) -> bytes:  # fmt: skip
    width, height = within(*size)
    row = bytes([filtering]) + bytes((width * CHANNELS[colour] * depth + 7) // 8)
    deflate = zlib.compressobj(9)
    rows = max(1, int(height * share))
    content = b"".join(deflate.compress(row) for _ in range(rows)) + deflate.flush()
    content *= repeated
    step = -(-len(content) // pieces)
    name, length, is_compressed, count = extra
    more = noise(min(length, 100_000))
    if is_compressed:
        more = b"name\0\0" + zlib.compress(bytes(length), 9)
    file = [SIGNATURE, header(width, height, depth, colour, 0, 0, interlaced)]
    file += [chunk(b"PLTE", bytes(768))] if colour == PALETTE else []
    file += [chunk(name, more)] * min(count, 2_000_000 // (len(more) + 12) + 1)
    file += [chunk(b"IDAT", content[at : at + step]) for at in range(0, len(content), step)]
    return b"".join(file) + chunk(b"IEND")


FILES = st.builds(
    lambda *given: partial(made, *given),
    st.tuples(SIDES, SIDES),
    st.sampled_from([GREY, RGB, PALETTE, GREY_ALPHA, RGBA]),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0, 1]),
    st.integers(0, 4),
    st.sampled_from([1, 2, 1000, 100_000]),
    st.sampled_from([1, 1, 2]),
    st.tuples(st.sampled_from(NAMES), LENGTHS, st.booleans(), st.sampled_from([0, 1, 100, 10_000])),
    st.sampled_from([1.0, 1.0, 0.5, 0.01, 2.0]),
)
