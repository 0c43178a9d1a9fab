"""JPEG files of many scans, restarts, segments and sampling factors (ITU-T T.81)."""

import re
import struct
from functools import partial

from hypothesis import strategies as st
from PIL import Image

from tests.hostile.jpeg import COMMENT, EMPTY_SCAN, segment
from tests.hostile.search.sizes import SIDES, noise, within
from tests.service.pictures import save

FRAME = re.compile(rb"\xff[\xc0-\xc2]..\x08(....)", re.DOTALL)
END = b"\xff\xd9"


def made(
    side: int, mode: str, options: dict[str, int], claimed: tuple[int, int] | None,
    scans: int, segments: tuple[bytes, int, int], restarts: int
) -> bytes:  # fmt: skip
    colour = Image.effect_noise((side, side), 80).convert(mode)
    file = save(colour, "JPEG", **options)
    if claimed is not None:
        width, height = within(*claimed)
        place = FRAME.search(file)
        assert place
        at = place.start(1)
        file = (
            file[:at] + struct.pack(">HH", min(height, 65_535), min(width, 65_535)) + file[at + 4 :]
        )
    marker, length, count = segments
    more = segment(marker, noise(min(length, 65_000))) * min(count, 3_000_000 // (length + 4) + 1)
    body = file[2:-2]
    if restarts:
        body = segment(b"\xff\xdd", struct.pack(">H", restarts)) + body
    return file[:2] + more + body + EMPTY_SCAN * scans + END


FILES = st.builds(
    lambda *given: partial(made, *given),
    st.sampled_from([8, 28, 100, 600]),
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.fixed_dictionaries(
        {
            "progressive": st.booleans(),
            "quality": st.sampled_from([1, 50, 100]),
            "subsampling": st.sampled_from([0, 1, 2]),
            "optimize": st.booleans(),
        }
    ),
    st.one_of(st.none(), st.tuples(SIDES, SIDES)),
    st.one_of(st.integers(0, 100), st.sampled_from([1000, 100_000, 800_000])),
    st.tuples(
        st.sampled_from([COMMENT, b"\xff\xe1", b"\xff\xe2", b"\xff\xed", b"\xff\xdb", b"\xff\xc4"]),
        st.sampled_from([0, 2, 64, 65_000]),
        st.sampled_from([0, 0, 1, 1000, 100_000]),
    ),
    st.sampled_from([0, 0, 1, 65_535]),
)
