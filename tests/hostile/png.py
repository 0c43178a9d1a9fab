"""PNG files that are broken, have wrong sizes, or expand a lot (W3C, PNG, third edition)."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import struct
import zlib
from itertools import product

from tests.hostile.cases import BROKEN, NO_PICTURE, Case, picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


def chunk(name: bytes, content: bytes = b"") -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def header(width: int = 28, height: int = 28, depth: int = 8, colour: int = GREY, *odd: int) -> bytes:
    """An IHDR chunk, also with invalid compression, filter and interlacing."""
    rest = (*odd, 0, 0, 0)[:3]
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *rest))


def pixels(width: int = 28, height: int = 28, bits: int = 8) -> bytes:
    """IDAT of black pixels."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + (width * bits + 7) // 8)
    return chunk(b"IDAT", b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush())


def png(*before: bytes, head: bytes | None = None, data: bytes | None = None) -> bytes:
    """A PNG of 28 x 28 with chunks before its pixels."""
    middle = b"".join(before)
    return SIGNATURE + (head or header()) + middle + (data or pixels()) + chunk(b"IEND")


def black(side: int, depth: int, colour: int, interlaced: int = 0) -> bytes:
    """The largest image of zeros."""
    bits = depth * CHANNELS[colour]
    # The seven passes of interlacing have more rows, and so more bytes for filters.
    data = pixels(side, side * 21 // 20 + 20 if interlaced else side, bits)
    return SIGNATURE + header(side, side, depth, colour, 0, 0, interlaced) + data + chunk(b"IEND")


def wrong_crc(content: bytes, name: bytes) -> bytes:
    place = content.index(name)
    (length,) = struct.unpack_from(">I", content, place - 4)
    end = place + 4 + length
    return content[:end] + bytes([content[end] ^ 1]) + content[end + 1 :]


def exif_that_overlaps() -> bytes:
    """60,000 entries, each of the same nine megabytes."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 9_000_000, 20) for tag in range(60_000))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries + bytes(4 + 9_000_000)


def frames(count: int) -> bytes:
    """An animation (APNG); its first frame is the picture."""
    control = struct.pack(">IIIIHHBB", 28, 28, 0, 0, 1, 10, 0, 0)
    data = zlib.compress(bytes(29 * 28))
    first = chunk(b"fcTL", struct.pack(">I", 0) + control) + pixels()
    others = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * index - 1) + control)
        + chunk(b"fdAT", struct.pack(">I", 2 * index) + data)
        for index in range(1, count)
    )
    animation = chunk(b"acTL", struct.pack(">II", count, 0))
    return SIGNATURE + header() + animation + first + others + chunk(b"IEND")


def text_bomb(kind: bytes, size: int) -> bytes:
    packed = zlib.compress(bytes(size), 9)
    return chunk(kind, {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind] + packed)


GOOD = png()

CUT_OFF = [
    picture(f"PNG cut off after {keep} bytes", GOOD[:keep], 400, says)
    for keep, says in (
        *((1, NO_PICTURE), (7, BROKEN), (8, BROKEN), (12, BROKEN), (20, BROKEN)),
        *((33, BROKEN), (37, BROKEN), (41, BROKEN), (45, BROKEN)),
    )
]

SIZES = [
    picture("PNG of width 0", png(head=header(0, 28)), 400, BROKEN),
    picture("PNG of height 0", png(head=header(28, 0)), 400, BROKEN),
    picture("PNG of 0 x 0", png(head=header(0, 0)), 400, BROKEN),
    picture("PNG of one bit less width than its pixels", png(head=header(29, 28)), 400, BROKEN),
    picture("PNG of 65,535 x 65,535", png(head=header(65535, 65535)), 413, "4,294,836,225 pixels"),
    picture("PNG of 2^31 - 1 both ways", png(head=header(2**31 - 1, 2**31 - 1)), 413, "of a side"),
    picture("PNG of 2^32 - 1 both ways", png(head=header(2**32 - 1, 2**32 - 1)), 413, "of a side"),
    picture("PNG of 2^31 x 1", png(head=header(2**31, 1)), 413, "of a side"),
    picture("PNG one pixel wide, 100 million high", png(head=header(1, 10**8)), 413, "of a side"),
    picture("PNG one pixel high, 100 million wide", png(head=header(10**8, 1)), 413, "of a side"),
    picture("PNG of 65,536 x 1", png(head=header(65536, 1)), 413, "65,535 are the limit of a side"),
    picture("PNG just over the pixels", png(head=header(8000, 8001)), 413, "64,008,000 pixels"),
    picture("PNG of the most pixels, without them", png(head=header(8000, 4000)), 400, BROKEN),
]

FIELDS = [
    *(
        picture(f"PNG of depth {depth} and colour type {colour}", png(head=header(28, 28, depth, colour)), 400, BROKEN)
        for depth, colour in ((0, 0), (3, 0), (255, 0), (4, 2), (16, 3), (1, 4), (2, 6), (8, 1), (8, 5), (8, 7), (8, 255))
    ),
    picture("PNG of filter method 1", png(head=header(28, 28, 8, GREY, 0, 1)), 400, "unknown filter category"),
    picture("PNG of an unknown compression", png(head=header(28, 28, 8, GREY, 77)), 200),
    picture("PNG of interlacing 9", png(head=header(28, 28, 8, GREY, 0, 0, 9)), 400, BROKEN),
    picture("PNG with a header of 12 bytes", png(head=chunk(b"IHDR", bytes(12))), 400, BROKEN),
    picture("PNG with a header of 4 bytes", png(head=chunk(b"IHDR", bytes(4))), 400, BROKEN),
    picture("PNG with an empty header", png(head=chunk(b"IHDR")), 400, BROKEN),
    picture("PNG without a header", png(head=chunk(b"tIME", bytes(7))), 400, BROKEN),
    picture("PNG with a second header, huge", png(header(60000, 60000)), 413, "3,600,000,000"),
]

CHECKSUMS = [
    picture("PNG with a wrong checksum of its header", wrong_crc(GOOD, b"IHDR"), 400, "bad header checksum in b'IHDR'"),
    picture("PNG with a wrong checksum of a palette", wrong_crc(png(chunk(b"PLTE", bytes(6))), b"PLTE"), 400, "bad header checksum in b'PLTE'"),
    picture("PNG with a wrong checksum of a gamma, as browsers show it", wrong_crc(png(chunk(b"gAMA", bytes(4))), b"gAMA"), 200),
]

PIXELS = [
    picture("PNG without pixels", SIGNATURE + header() + chunk(b"IEND"), 400, BROKEN),
    picture("PNG with empty pixels", png(data=chunk(b"IDAT")), 400, BROKEN),
    picture("PNG whose pixels are no zlib", png(data=chunk(b"IDAT", b"\xff" * 100)), 400, BROKEN),
    picture("PNG whose rows stop at the thirteenth, and are whole", png(data=chunk(b"IDAT", zlib.compress(bytes(29 * 13)))), 200),
    picture("PNG whose pixels stop in a chunk", png(data=chunk(b"IDAT", zlib.compress(bytes(range(29)) * 28)[:20])), 400, BROKEN),
    picture("PNG without its end", GOOD[:-12], 200),
    picture("PNG with a filter type of 9", png(data=chunk(b"IDAT", zlib.compress((b"\x09" + bytes(28)) * 28))), 400, BROKEN),
    picture("PNG with a preset dictionary", png(data=chunk(b"IDAT", b"\x78\xbb" + bytes(20))), 400, BROKEN),
    picture("PNG with more pixels than its size", png(data=pixels(28, 2800)), 200),
    picture("PNG whose pixels claim 2 GB", png(data=struct.pack(">I", 2**31) + b"IDAT" + bytes(50)), 400, BROKEN),
    picture("PNG whose chunk claims 4 GB", png(struct.pack(">I", 2**32 - 1) + b"teXt" + bytes(50)), 400, BROKEN),
    picture("PNG with a chunk whose name is no letters", png(chunk(b"\0\1\2\3")), 400, BROKEN),
    picture("PNG with a palette of 1,000 colours", png(chunk(b"PLTE", bytes(3000)), head=header(28, 28, 8, PALETTE)), 400, "invalid palette size"),
    picture("PNG with palette numbers beyond its palette", png(chunk(b"PLTE", bytes(6)), head=header(28, 28, 8, PALETTE), data=chunk(b"IDAT", zlib.compress((b"\0" + b"\xfe" * 28) * 28))), 200),
    picture("PNG with colours by numbers and no palette", png(head=header(28, 28, 8, PALETTE)), 400, BROKEN),
    picture("PNG with transparency for no colour", png(chunk(b"PLTE", bytes(6)), chunk(b"tRNS", bytes(255)), head=header(28, 28, 8, PALETTE)), 200),
    picture("PNG with an empty transparency", png(chunk(b"tRNS")), 400, BROKEN),
    picture("PNG with a page colour of one byte", png(chunk(b"bKGD", b"\1")), 200),
]

BOMBS = [
    *(
        picture(f"PNG with {kind.decode()} that inflates to {size // 10**6} MB", png(text_bomb(kind, size)), 200)
        for kind, size in product((b"zTXt", b"iTXt", b"iCCP"), (10**6, 50 * 10**6))
    ),
    picture("PNG with 100 texts of 1 MB", lambda: png(text_bomb(b"zTXt", 10**6) * 100), 200),
    picture("PNG with 9,000 colour profiles of 1 MB", lambda: png(text_bomb(b"iCCP", 10**6) * 9000), 200),
    picture("PNG with 400,000 chunks and no pixels", lambda: SIGNATURE + header() + chunk(b"abCd") * 400_000, 400, BROKEN),
    picture("PNG with 100,000 empty pieces of pixels", lambda: png(chunk(b"IDAT") * 100_000), 200),
    picture("PNG with EXIF that overlaps itself", lambda: png(chunk(b"eXIf", exif_that_overlaps())), 200),
    picture("PNG with EXIF that is a loop", png(chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0")), 200),
    picture("PNG of 5,000 frames", lambda: frames(5000), 200),
    picture("PNG with frame numbers out of order", png(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 28, 28, 0, 0, 1, 1, 0, 0))), 200),
    picture("PNG with a frame larger than itself", png(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9999, 9999, 0, 0, 1, 1, 0, 0))), 200),
    picture("PNG of 32 million pixels in 30 kB", lambda: black(5656, 8, GREY), 200),
    picture("PNG of 32 million pixels, 16 bits, interlaced", lambda: black(5656, 16, RGBA, 1), 200),
    picture("PNG of 10 MB of zeros in 10 kB", lambda: black(3200, 8, GREY), 200),
]

CASES: list[Case] = [*CUT_OFF, *SIZES, *FIELDS, *CHECKSUMS, *PIXELS, *BOMBS]
