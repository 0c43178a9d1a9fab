"""GIF and BMP files: frames, blocks, runs, palettes and sizes that lie."""

from functools import partial

from hypothesis import strategies as st
from PIL import Image

from tests.hostile.gif_bmp_webp import END, bmp_file, gif_file
from tests.hostile.search.sizes import LENGTHS, SIDES, noise, within
from tests.service.pictures import save

CLEARS = b"\xff" + b"\x24\x49\x92" * 85  # a block of LZW that only clears its table


def gif(
    size: tuple[int, int], shown: tuple[int, int] | None, blocks: str, length: int,
    comments: int, bits: int, frames: int
) -> bytes:  # fmt: skip
    width, height = within(*size)
    if blocks == "right":
        image = Image.new("P", (width, height))
        return save(image, "GIF", save_all=True, append_images=[image] * frames)
    before = b"!\xfe\x01a\0" * comments
    data = {"clears": CLEARS, "bytes": b"\x01\x04", "noise": b"\xff" + noise(255)}[blocks]
    many = data * (min(length, 3_000_000) // len(data) + 1)
    frame = within(*shown) if shown else None
    return gif_file(many + END, width=width, height=height, before=before, frame=frame, bits=bits)


def bmp(
    size: tuple[int, int], bits: int, compression: int, run: bytes, length: int,
    colours: int, upright: bool, header: int
) -> bytes:  # fmt: skip
    width, height = within(*size)
    data = run * (min(length, 3_000_000) // len(run) + 1)
    return bmp_file(
        data, width=width, height=height if upright else -height, bits=bits,
        compression=compression, colours=colours, header=header,
    )  # fmt: skip


GIFS = st.builds(
    lambda *given: partial(gif, *given),
    st.tuples(SIDES, SIDES),
    st.one_of(st.none(), st.tuples(SIDES, SIDES)),
    st.sampled_from(["right", "clears", "bytes", "noise"]),
    LENGTHS,
    st.sampled_from([0, 0, 1000, 100_000]),
    st.integers(1, 12),
    st.sampled_from([0, 1, 50]),
)

BMPS = st.builds(
    lambda *given: partial(bmp, *given),
    st.tuples(SIDES, SIDES),
    st.sampled_from([1, 4, 8, 16, 24, 32]),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([b"\0", b"\xff\x07", b"\x01\x07", b"\0\0", b"\0\2\xff\xff", b"\x01\x07\0\0"]),
    LENGTHS,
    st.sampled_from([0, 2, 256, 2**31]),
    st.booleans(),
    st.sampled_from([40, 108, 124, 12]),
)
