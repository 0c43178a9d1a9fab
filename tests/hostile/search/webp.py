"""WebP files: lossless with many code groups, lossy, with a canvas, films (RFC 9649)."""

import struct
from functools import partial

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.hostile.gif_bmp_webp import riff
from tests.hostile.search.sizes import SIDES, within
from tests.service.pictures import save


def made(
    side: int, kind: str, detail: int, options: dict[str, int], frames: int,
    claimed: tuple[int, int] | None, patch: list[tuple[int, int]], metadata: int
) -> bytes:  # fmt: skip
    pixels = np.zeros((side, side, 4), np.uint8)
    if detail:  # blocks that differ, for which the encoder makes codes of their own
        random = np.random.default_rng(detail)
        few = random.integers(0, 256, (-(-side // detail), -(-side // detail), 4), np.uint8)
        pixels = few.repeat(detail, 0).repeat(detail, 1)[:side, :side]
    image = Image.fromarray(pixels).convert(kind)
    more = {"save_all": True, "append_images": [image] * frames} if frames else {}
    exif = {"exif": bytes(metadata)} if metadata else {}
    file = bytearray(save(image, "WEBP", **options, **more, **exif))
    if claimed:
        claim(file, *within(*claimed))
    for at, value in patch:
        file[12 + at % (len(file) - 12)] = value
    return bytes(file)


def claim(file: bytearray, width: int, height: int) -> None:
    """Have the first frame say that it has another size; RFC 9649, 3.4, and RFC 6386, 9.1."""
    width, height = min(width, 16_383), min(height, 16_383)
    if (at := file.find(b"VP8L")) >= 0:
        (bits,) = struct.unpack_from("<I", file, at + 9)
        bits = bits >> 28 << 28 | (height - 1) << 14 | (width - 1)
        struct.pack_into("<I", file, at + 9, bits)
    elif (at := file.find(b"\x9d\x01\x2a")) >= 0:
        struct.pack_into("<HH", file, at + 3, width, height)
    if (at := file.find(b"VP8X")) >= 0:
        file[at + 12 : at + 18] = (
            struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        )


ONE_SYMBOL = 0b0001, 4  # a simple code, of one symbol, which is 0 and takes no bit


def groups(bits: int, side: int, codes: int) -> bytes:
    """A lossless picture of groups of codes, each of one symbol, for squares of 2^bits pixels."""
    across = -(-side // 2**bits)
    writer = _Bits()
    writer.put(0x2F, 8)  # RFC 9649, section 3.4
    writer.put(side - 1, 14)
    writer.put(side - 1, 14)
    writer.put(0, 1 + 3)  # no alpha, version 0
    writer.put(0, 1 + 1)  # no transform, no colour cache
    writer.put(1, 1)  # there is an entropy image
    writer.put(bits - 2, 3)
    writer.put(0, 1)  # which has no colour cache
    for length in (280, 256):  # of green and red, the two bytes of a group's number
        # Section 3.7.2.1: lengths are 8, or 0 in runs; each has a code of one bit.
        writer.put(0, 1)
        writer.put(12 - 4, 4)
        for code_length in (0, 1, *[0] * 9, 1):
            writer.put(code_length, 3)
        writer.put(0, 1)
        writer.put(0, 256)
        if length > 256:
            writer.put(1, 1)
            writer.put(length - 256 - 11, 7)
    for _ in range(3):  # blue, alpha, distance
        writer.put(*ONE_SYMBOL)
    numbers = [n % codes for n in range(across * across)]
    for number in numbers:
        writer.put(REVERSED[number & 255], 8)
        writer.put(REVERSED[number >> 8], 8)
    for _ in range((max(numbers) + 1) * 5):
        writer.put(*ONE_SYMBOL)
    return riff((b"VP8L", writer.content()))


REVERSED = [int(f"{number:08b}"[::-1], 2) for number in range(256)]  # codes begin with their top


class _Bits:
    """Bits in their order, the lowest of a number first."""

    def __init__(self) -> None:
        self._value, self._length = 0, 0
        self._done = bytearray()

    def put(self, value: int, bits: int) -> None:
        self._value |= value << self._length
        self._length += bits
        while self._length >= 8:
            self._done.append(self._value & 255)
            self._value >>= 8
            self._length -= 8

    def content(self) -> bytes:
        return bytes(self._done) + bytes([self._value & 255]) + bytes(16)


FILES = st.one_of(
    st.builds(
        lambda *given: partial(made, *given),
        st.sampled_from([1, 28, 100, 500, 1000]),
        st.sampled_from(["RGB", "RGBA", "L"]),
        st.sampled_from([0, 1, 2, 4, 16, 64]),
        st.fixed_dictionaries(
            {
                "lossless": st.booleans(),
                "quality": st.sampled_from([0, 50, 100]),
                "method": st.sampled_from([0, 1]),
            }
        ),
        st.sampled_from([0, 0, 1, 20]),
        st.one_of(st.none(), st.tuples(SIDES, SIDES)),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
        st.sampled_from([0, 1, 1_000_000]),
    ),
    st.builds(
        lambda *given: partial(groups, *given),
        st.integers(2, 9),
        SIDES.map(lambda side: min(side, 5656)),
        st.sampled_from([1, 2, 100, 256, 257, 1000, 10_000, 65_536]),
    ),
)
