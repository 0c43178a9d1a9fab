"""TIFF files whose strips or tiles, counts, sizes and codecs lie (TIFF, revision 6.0)."""

import lzma
import struct
import zlib
from functools import partial

from hypothesis import strategies as st
from PIL import Image

from tests.hostile.jpeg import EMPTY_SCAN
from tests.hostile.search.sizes import SIDES, noise
from tests.hostile.tiff import (
    COUNTS,
    DEFLATE,
    JPEG,
    LONG,
    LZMA,
    LZW,
    OFFSETS,
    RAW,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    UNDEFINED,
    WEBP,
    ZSTD,
    Tag,
    tiff_file,
)
from tests.service.pictures import save

CCITT, PACKBITS = (2, 3, 4), 32773
CODECS = (RAW, LZW, JPEG, DEFLATE, LZMA, ZSTD, WEBP, PACKBITS, *CCITT)


def data(codec: int, length: int, side: int, scans: int) -> bytes:
    """What a codec makes of black pixels; of those that are not made here, noise."""
    if codec == JPEG:
        picture = Image.effect_noise((side, side), 50)
        return save(picture, "JPEG", progressive=True)[:-2] + EMPTY_SCAN * scans + b"\xff\xd9"
    if codec == WEBP:
        return save(Image.new("RGB", (side, side)), "WEBP", lossless=True)
    if codec == DEFLATE:
        return zlib.compress(bytes(length), 9)
    if codec == LZMA:
        return lzma.compress(bytes(length))
    if codec == PACKBITS:
        return b"\x81\0" * (length // 128 + 1)
    if codec in (LZW, ZSTD):
        name = "tiff_lzw" if codec == LZW else "zstd"
        file = save(Image.new("L", (side, max(1, length // side))), "TIFF", compression=name)
        with Image.open(__import__("io").BytesIO(file)) as image:
            offset, count = image.tag_v2[OFFSETS][0], image.tag_v2[COUNTS][0]  # type: ignore[attr-defined]
        return file[offset : offset + count]
    return noise(length % 5000) if codec in CCITT else bytes(min(length, 100_000))


def tiff(
    codec: int,
    pixels: bytes,
    width: int,
    height: int,
    piece: tuple[int, int] | None,
    rows: int,
    count: int,
    samples: int,
    depth: int,
    planar: int,
    predictor: int,
    private: int,
) -> bytes:
    """Pieces that are all the same bytes: tiles of a size, or strips of so many rows."""
    body = pixels + bytes(len(pixels) % 2)
    few = count == 1  # which stand in the tag itself
    place = 8 + len(body)
    offsets = b"" if few else struct.pack("<I", 8) * count
    lengths = b"" if few else struct.pack("<I", len(pixels)) * count
    names = (TILE_OFFSETS, TILE_COUNTS) if piece else (OFFSETS, COUNTS)
    tags: list[Tag] = [
        (names[0], LONG, count, 8 if few else place),
        (names[1], LONG, count, len(pixels) if few else place + len(offsets)),
        *((TILE_WIDTH, LONG, 1, piece[0]), (TILE_HEIGHT, LONG, 1, piece[1])) * bool(piece),
        *((40_000 + n, UNDEFINED, len(pixels), 8) for n in range(private)),
    ]
    changes = {"OFFSETS": None, "COUNTS": None} | ({"ROWS": None} if piece else {"ROWS": rows})
    return tiff_file(
        body + offsets + lengths,
        *tags,
        WIDTH=width,
        HEIGHT=height,
        DEPTH=depth,
        COMPRESSION=codec,
        SAMPLES=samples,
        PHOTOMETRIC={1: 1, 3: 2, 4: 2}.get(samples, 1),
        PLANAR=planar,
        PREDICTOR=predictor,
        **changes,
    )


def made(
    codec: int, length: int, side: int, scans: int, tiled: bool, tile: tuple[int, int],
    size: tuple[int, int], rest: dict[str, int], exact: bool
) -> bytes:  # fmt: skip
    width, height = size
    if tiled:
        count = -(-width // max(1, tile[0])) * -(-height // max(1, tile[1]))
    else:
        count = -(-height // max(1, rest["rows"]))
    count = min(count * (rest["samples"] if rest["planar"] == 2 else 1), 100_000)
    pixels = data(codec, length, side, scans)
    return tiff(
        codec, pixels, width, height, tile if tiled else None,
        count=count if exact else min(rest["rows"], 100_000), **rest,
    )  # fmt: skip


FILES = st.builds(
    lambda *given: partial(made, *given),
    st.sampled_from(CODECS),
    st.sampled_from([1, 100, 784, 10_000, 10**6, 10**7]),
    st.sampled_from([16, 28, 64, 500]),
    st.integers(0, 90),
    st.booleans(),
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.fixed_dictionaries(
        {
            "rows": st.sampled_from([1, 8, 28, 1000, 65_535, 2**31]),
            "samples": st.sampled_from([1, 1, 3, 4, 2]),
            "depth": st.sampled_from([8, 8, 1, 16, 32]),
            "planar": st.sampled_from([1, 2]),
            "predictor": st.sampled_from([1, 2, 3]),
            "private": st.sampled_from([0, 0, 1, 1000]),
        }
    ),
    st.sampled_from([True, True, True, False]),
)
