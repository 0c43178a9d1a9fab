"""TIFF files that are broken, have wrong sizes, or expand a lot (TIFF, revision 6.0; BigTIFF)."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import lzma
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.cases import BROKEN, TOO_LONG, TOO_MUCH, UNSUPPORTED, Body, Case, picture
from tests.hostile.gif_bmp_webp import SIDE
from tests.hostile.jpeg import EMPTY_SCAN
from tests.service.pictures import save

SHORT, LONG, UNDEFINED, FLOAT = 3, 4, 7, 3
WIDTH, HEIGHT, DEPTH, COMPRESSION, PHOTOMETRIC, OFFSETS = 256, 257, 258, 259, 262, 273
SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR, TILE_WIDTH = 277, 278, 279, 284, 317, 322
TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, FORMAT = 323, 324, 325, 339
RAW, LZW, OLD_JPEG, JPEG, DEFLATE, LZMA, ZSTD, WEBP = 1, 5, 6, 7, 8, 34925, 50000, 50001
PACKBITS = 32773

Tag = tuple[int, int, int, int]  # number, type, how many, value or where


def tiff(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/tiff")


def tiff_file(
    data: bytes = bytes(28 * 28), *extra: Tag, next_page: int = 0, **changes: int | None
) -> bytes:
    """One strip of 28 x 28 in grey, in front of the directory, with tags changed or left out."""
    values: dict[str, int | None] = {
        "WIDTH": 28, "HEIGHT": 28, "DEPTH": 8, "COMPRESSION": RAW, "PHOTOMETRIC": 1,
        "OFFSETS": 8, "SAMPLES": 1, "ROWS": 28, "COUNTS": len(data), **changes,
    }
    tags: dict[int, Tag] = {
        globals()[name]: (globals()[name], LONG, 1, value)
        for name, value in values.items()
        if value is not None
    }
    tags.update({tag[0]: tag for tag in extra})
    body = data + bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", *tag) for _, tag in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + struct.pack("<I", next_page)


def tiles(
    compression: int, data: bytes, *, tile: int, side: int = 28, count: int = 1, **changes: int
) -> bytes:
    """Squares that are all the same, and may be larger than the picture."""
    body = data + bytes(len(data) % 2)
    offsets, lengths = struct.pack("<I", 8) * count, struct.pack("<I", len(data)) * count
    place = 8 + len(body)
    few = count == 1  # which stand in the tag itself
    return tiff_file(
        body + (b"" if few else offsets + lengths),
        (TILE_OFFSETS, LONG, count, 8 if few else place),
        (TILE_COUNTS, LONG, count, len(data) if few else place + len(offsets)),
        WIDTH=side, HEIGHT=side, COMPRESSION=compression, OFFSETS=None, ROWS=None, COUNTS=None,
        TILE_WIDTH=tile, TILE_HEIGHT=tile, **changes,
    )


def tiles_of_float(tile: int) -> bytes:
    return tiles(RAW, bytes(4 * 28), tile=tile, DEPTH=32, FORMAT=FLOAT)


def greedy_lzma() -> bytes:
    """A tile of 32 x 32, whose stream says that it needs a dictionary of 1.5 GB."""
    packed = bytearray(lzma.compress(bytes(32 * 32), check=lzma.CHECK_NONE))
    place = packed.index(b"\x21\x01", 12) + 2  # the filter LZMA2, and the length of what it is told
    packed[place] = 39  # 1.5 GB
    packed[20:24] = struct.pack("<I", zlib.crc32(packed[12:20]))
    return bytes(packed)


def jpeg_of_many_scans_in_tiles(count: int) -> bytes:
    """Tiles that are all one JPEG, of 98 scans."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16), np.uint8))
    scans = save(noise, "JPEG", progressive=True)[:-2] + EMPTY_SCAN * 92 + b"\xff\xd9"
    across = int(count**0.5)
    return tiles(JPEG, scans, tile=16, side=16 * across, count=across * across)


def private_tags(count: int) -> bytes:
    """Tags that libtiff warns of, each by two lines."""
    return tiff_file(bytes(784), *((40_000 + tag, SHORT, 1, tag) for tag in range(count)))


def with_loop() -> bytes:
    """A file whose second page is its first."""
    content = tiff_file()
    return content[:-4] + content[4:8]


def strips(count: int) -> bytes:
    """Rows of one pixel each, each in a strip of its own, and all of them the same."""
    offsets, lengths = struct.pack("<H", 8) * count, b"\1\0" * count
    return tiff_file(
        b"\0\0" + offsets + lengths,
        (OFFSETS, SHORT, count, 10),
        (COUNTS, SHORT, count, 10 + len(offsets)),
        WIDTH=1, HEIGHT=count, ROWS=1,
    )


def floats(value: float) -> bytes:
    return save(Image.fromarray(np.full((28, 28), value, np.float32)), "TIFF")


def compressed(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return save(Image.new(mode, (SIDE, SIDE)), "TIFF", compression=kind, **options)


def overlapping(count: int) -> bytes:
    """Many tags, each of the same nine megabytes."""
    return tiff_file(bytes(9_000_000), *((1000 + tag, UNDEFINED, 9_000_000, 8) for tag in range(count)))


@cache
def pages(count: int) -> bytes:
    images = [Image.new("L", (28, 28), index % 256) for index in range(count)]
    return save(images[0], "TIFF", save_all=True, append_images=images[1:])


GOOD = tiff_file()
DEFLATED = zlib.compress(bytes(28 * 28))

CUT_OFF = [
    tiff("TIFF, whole", GOOD, 200),
    *(tiff(f"TIFF of its first {keep} bytes", GOOD[:keep], 400, BROKEN) for keep in (4, 6, 8, 400, 792, 794, 800, 850)),
    tiff("TIFF whose directory is far away", b"II*\0\xff\xff\xff\xff" + bytes(100), 400, BROKEN),
    tiff("TIFF whose directory is its header", b"II*\0\0\0\0\0" + bytes(100), 400, BROKEN),
    tiff("TIFF of no tag", b"II*\0\x08\0\0\0\0\0\0\0\0\0", 400, BROKEN),
    tiff("TIFF of 65,535 tags that are not there", b"II*\0\x08\0\0\0\xff\xff" + bytes(100), 400, BROKEN),
    tiff("BigTIFF of 2^64 - 1 tags", b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff" * 8 + bytes(50), 400, BROKEN),
    tiff("BigTIFF with offsets of 4 bytes", b"II+\0\x04\0\0\0\x10" + bytes(50), 400, BROKEN),
    tiff("TIFF of number 43 in the order of Motorola", b"MM\0+" + bytes(50), 400, UNSUPPORTED),
]

SIZES = [
    tiff("TIFF of width 0", tiff_file(WIDTH=0), 400, BROKEN),
    tiff("TIFF of height 0", tiff_file(HEIGHT=0), 400, BROKEN),
    tiff("TIFF without a width", tiff_file(WIDTH=None), 400, BROKEN),
    tiff("TIFF without a height", tiff_file(HEIGHT=None), 400, BROKEN),
    tiff("TIFF of 65,535 x 65,535", tiff_file(WIDTH=65535, HEIGHT=65535), 413, "4,294,836,225 pixels"),
    tiff("TIFF of 2^32 - 1 both ways", tiff_file(WIDTH=2**32 - 1, HEIGHT=2**32 - 1), 413, "of a side"),
    tiff("TIFF one pixel wide, 100 million high", tiff_file(WIDTH=1, HEIGHT=10**8), 413, "of a side"),
    tiff("TIFF of the most pixels, without them", tiff_file(WIDTH=8000, HEIGHT=4000, ROWS=4000), 400, BROKEN),
    tiff("TIFF of a width in text", tiff_file(bytes(784), (WIDTH, 2, 4, 0x38323030)), 400, BROKEN),
    tiff("TIFF of a width of two numbers", tiff_file(bytes(784), (WIDTH, SHORT, 2, 28 | 28 << 16)), 400, BROKEN),
    tiff("TIFF of a negative width", tiff_file(bytes(784), (WIDTH, 9, 1, 2**32 - 28)), 400, BROKEN),
]

FIELDS = [
    *(tiff(f"TIFF of {depth} bits", tiff_file(DEPTH=depth), 400, BROKEN) for depth in (0, 65535)),
    *(tiff(f"TIFF of {depth} bits", tiff_file(DEPTH=depth), 400, UNSUPPORTED) for depth in (3, 7, 64)),
    *(tiff(f"TIFF of compression {kind}", tiff_file(COMPRESSION=kind), 400, UNSUPPORTED) for kind in (0, 9, 99, 34712, 65535)),
    *(tiff(f"TIFF of photometric {kind}", tiff_file(PHOTOMETRIC=kind), 400, UNSUPPORTED) for kind in (7, 99, 32803, 65535)),
    *(tiff(f"TIFF of {count} samples", tiff_file(SAMPLES=count), 400, UNSUPPORTED if count else BROKEN) for count in (0, 7, 1000, 65535)),
    tiff("TIFF with no strip", tiff_file(OFFSETS=None), 400, BROKEN),
    tiff("TIFF whose strip is behind its end", tiff_file(OFFSETS=10**9), 400, BROKEN),
    tiff("TIFF whose strip is too short", tiff_file(COUNTS=5), 200),
    tiff("TIFF whose strip has 4 GB", tiff_file(COUNTS=2**32 - 1), 200),
    tiff("TIFF with 0 rows in a strip", tiff_file(ROWS=0), 400, BROKEN),
    tiff("TIFF with two billion strips", tiff_file(bytes(784), (OFFSETS, LONG, 2**31, 8)), 400, BROKEN),
    tiff("TIFF in planes of which there are none", tiff_file(PLANAR=2, SAMPLES=3, PHOTOMETRIC=2, DEPTH=8), 400, BROKEN),
    tiff("TIFF with a palette of one colour", tiff_file(bytes([200]) * 784, (320, SHORT, 3, 8), PHOTOMETRIC=3), 200),
    tiff("TIFF with tiles of 0 x 0", tiff_file(OFFSETS=None, ROWS=None, COUNTS=None, TILE_WIDTH=0, TILE_HEIGHT=0, TILE_OFFSETS=8), 400, BROKEN),
    tiff("TIFF with tiles of 2^31 x 2^31", tiff_file(OFFSETS=None, ROWS=None, COUNTS=None, TILE_WIDTH=2**31, TILE_HEIGHT=2**31, TILE_OFFSETS=8), 413, "the image has tiles of 2147483648 x 2147483648"),
    tiff("TIFF of format 99", tiff_file(FORMAT=99), 400, UNSUPPORTED),
    tiff("TIFF of floating point of 8 bits", tiff_file(FORMAT=FLOAT), 400, UNSUPPORTED),
]

COMPRESSED = [
    tiff("TIFF, deflated", tiff_file(DEFLATED, COMPRESSION=DEFLATE), 200),
    tiff("TIFF, deflated, cut off", tiff_file(DEFLATED[:9], COMPRESSION=DEFLATE), 400, BROKEN),
    tiff("TIFF, deflated, with an unknown predictor", tiff_file(DEFLATED, COMPRESSION=DEFLATE, PREDICTOR=99), 400, BROKEN),
    *(tiff(f"TIFF of noise in compression {kind}", tiff_file(bytes(range(1, 255)), COMPRESSION=kind), 400, UNSUPPORTED if kind == WEBP else BROKEN) for kind in (LZW, OLD_JPEG, JPEG, DEFLATE, LZMA, ZSTD, WEBP)),
    tiff("TIFF that deflates 10 MB into a strip of 784 bytes", tiff_file(zlib.compress(bytes(10**7), 9), COMPRESSION=DEFLATE), 200),
    *(tiff(f"TIFF of 32 million pixels in {kind}", lambda kind=kind: compressed(kind), 200) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "packbits")),
    tiff("TIFF of 32 million numbers of 32 bits", lambda: compressed("tiff_adobe_deflate", "I"), 413, TOO_MUCH),
    tiff("TIFF of 32 million pixels that EXIF turns", lambda: compressed("tiff_adobe_deflate", "RGBA", tiffinfo={274: 6}), 413, TOO_MUCH),
]

# Tiles may be larger than their picture, and of tiles that are all the same there may be many.
TILES = [
    *(tiff(f"TIFF of 28 x 28 with a tile of 46,336 x 46,336 in compression {kind}", tiles(kind, data, tile=46_336), 413, "tiles of 46336 x 46336") for kind, data in ((RAW, b"\0"), (DEFLATE, DEFLATED), (PACKBITS, b"\x81\0"), (LZMA, b"\xfd7zXZ"), (ZSTD, b"\x28\xb5\x2f\xfd"))),
    tiff("TIFF of 28 x 28 with a tile of 7,984 x 7,984 in 32 bits", tiles_of_float(7984), 413, TOO_MUCH),
    tiff("TIFF of 28 x 28 with a tile of 5,600 x 5,600, deflated", lambda: tiles(DEFLATE, zlib.compress(bytes(5600 * 5600), 9), tile=5600), 200),
    tiff("TIFF of 28 x 28 with a tile of 5,600 x 5,600, in LZMA", lambda: tiles(LZMA, lzma.compress(bytes(5600 * 5600)), tile=5600), 200),
    tiff("TIFF of 28 x 28 in LZMA that asks for a dictionary of 1.5 GB", tiles(LZMA, greedy_lzma(), tile=32), 413, TOO_MUCH),
    tiff("TIFF of 100,000 tiles that are one JPEG of many scans", lambda: jpeg_of_many_scans_in_tiles(100_000), 413, TOO_LONG),
    tiff("TIFF of 4,000 private tags", private_tags(4000), 200),
]

BOMBS = [
    tiff("TIFF of 65,535 strips that are one", lambda: strips(65_535), 200),
    tiff("TIFF of two million strips", lambda: strips(2_000_000), 413, "of a side"),
    tiff("TIFF of 10,000 tags that overlap", lambda: overlapping(10_000), 400, BROKEN),
    tiff("TIFF whose pages are a loop", with_loop(), 200),
    tiff("TIFF of 2,000 pages", lambda: pages(500), 200),
    tiff("TIFF with EXIF that is its own directory", tiff_file(bytes(784), (34665, LONG, 1, 792)), 200),
    tiff("TIFF with a colour profile of 4 GB", tiff_file(bytes(784), (34675, UNDEFINED, 2**32 - 1, 8)), 200),
]

NUMBERS = [
    *(tiff(f"TIFF of {value}", floats(value), 400, "the image has 32-bit values from") for value in (float("nan"), float("inf"), -float("inf"), -1.0, 1e30)),
    tiff("TIFF of 65,536 in 32 bits", save(Image.fromarray(np.full((28, 28), 65_536, np.int32)), "TIFF"), 400, "32-bit values from 65536"),
    tiff("TIFF of -1 in 32 bits", save(Image.fromarray(np.full((28, 28), -1, np.int32)), "TIFF"), 400, "32-bit values from -1"),
    tiff("TIFF of subnormal numbers", floats(1e-40), 200),
]

CASES: list[Case] = [*CUT_OFF, *SIZES, *FIELDS, *COMPRESSED, *TILES, *BOMBS, *NUMBERS]
