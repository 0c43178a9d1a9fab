"""GIF, BMP, WebP and AVIF files that are broken, have wrong sizes, or expand a lot."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import struct
from functools import cache

import numpy as np
from PIL import Image

from tests.hostile.cases import (
    BROKEN,
    NO_PICTURE,
    TOO_LONG,
    TOO_MUCH,
    UNSUPPORTED,
    Body,
    Case,
    picture,
)
from tests.service.pictures import save

END = b"\0;"
SIDE = 5656  # its square is just under 32 million pixels
HUGE = struct.pack("<HH", 65535, 65535)


def gif(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/gif")


def bmp(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/bmp")


def webp(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/webp")


def gif_file(
    data: bytes, *, width: int = 28, height: int = 28, before: bytes = b"", corner: int = 0, frame: tuple[int, int] | None = None, bits: int = 2
) -> bytes:
    """A GIF without palettes; data are the blocks of its one frame."""
    shown = frame or (width, height)
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    return screen + before + b"," + struct.pack("<HHHHBB", corner, corner, *shown, 0, bits) + data


@cache
def still(kind: str, mode: str = "P", side: int = 28) -> bytes:
    return save(Image.new(mode, (side, side)), kind, **({"lossless": True} if kind == "WEBP" else {}))


@cache
def film(kind: str, count: int) -> bytes:
    frames = [Image.new("L", (28, 28), index % 256) for index in range(count)]
    return save(frames[0], kind, save_all=True, append_images=frames[1:])


GIFS = [
    *(gif(f"GIF of its first {keep} bytes", still("GIF")[:keep], 400, says) for keep, says in ((3, NO_PICTURE), (6, BROKEN), (9, BROKEN), (14, BROKEN), (len(still("GIF")) - 4, BROKEN))),
    gif("GIF of 65,535 x 65,535", gif_file(END, width=65535, height=65535), 413, "4,294,836,225 pixels"),
    gif("GIF whose frame is larger than its screen", gif_file(END, frame=(65535, 65535)), 413, "4,294,836,225 pixels"),
    gif("GIF whose frame begins outside", gif_file(END, corner=65535), 413, "pixels"),
    gif("GIF of 0 x 0", gif_file(END, width=0, height=0), 400, BROKEN),
    gif("GIF with a frame of 0 x 0", gif_file(END, frame=(0, 0)), 400, BROKEN),
    *(gif(f"GIF with codes of {bits} bits", gif_file(b"\x02\xff\xff" + END, bits=bits), 400, BROKEN) for bits in (0, 1, 12, 13, 255)),
    gif("GIF without pixels", gif_file(END), 400, BROKEN),
    gif("GIF whose LZW has codes that are not there yet", gif_file(b"\x05\xff\xff\xff\xff\xff" + END), 400, BROKEN),
    gif("GIF whose LZW ends at once", gif_file(b"\x01\x2c" + END), 400, BROKEN),
    gif("GIF whose LZW only clears its table", gif_file((b"\xff" + b"\x24\x49\x92" * 85) * 100 + END), 400, BROKEN),
    gif("GIF without a frame", b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0, 0, 0) + b";", 400, BROKEN),
    gif("GIF with a palette that is cut off", b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0xF7, 0, 0) + bytes(100), 400, BROKEN),
    gif("GIF with an extension of no kind", gif_file(END, before=b"!"), 400, BROKEN),
    gif("GIF with a control block of one byte", gif_file(END, before=b"!\xf9\x01\x01\0"), 400, BROKEN),
    gif("GIF with 3 MB of junk before its frame", lambda: gif_file(END, before=b"\x01" * 3_000_000), 413, TOO_LONG),
    gif("GIF with 500,000 comments", lambda: gif_file(END, before=b"!\xfe\x01a\0" * 500_000), 413, TOO_LONG),
    gif("GIF with pixels in five million blocks of a byte", lambda: gif_file(b"\x01\x04" * 5_000_000 + END), 200),
    gif("GIF of 1,000 frames", lambda: film("GIF", 1000), 200),
    gif("GIF of 32 million pixels in 50 kB", lambda: still("GIF", "P", SIDE), 200),
]


def bmp_file(
    data: bytes = bytes(28 * 28), *, width: int = 28, height: int = 28, bits: int = 8, compression: int = 0, colours: int = 256, header: int = 40, offset: int | None = None
) -> bytes:
    """A BMP with a black palette, and any values in its header."""
    palette = bytes(4 * min(colours, 256))
    start = 14 + 40 + len(palette) if offset is None else offset
    head = struct.pack("<IHHI", 54 + len(palette) + len(data), 0, 0, start)
    fields = (header, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    return b"BM" + head + struct.pack("<IiiHHIIiiII", *fields) + palette + data


BMPS = [
    bmp("BMP, whole", bmp_file(), 200),
    *(bmp(f"BMP of its first {keep} bytes", bmp_file()[:keep], 400, says) for keep, says in ((1, NO_PICTURE), (2, BROKEN), (14, BROKEN), (20, BROKEN), (54, BROKEN), (1500, BROKEN))),
    bmp("BMP of width 0", bmp_file(width=0), 400, BROKEN),
    bmp("BMP of height 0", bmp_file(height=0), 400, BROKEN),
    bmp("BMP of width -28", bmp_file(width=-28), 413, "4294967268 x 28"),
    bmp("BMP of height -28, from the top", bmp_file(height=-28), 200),
    bmp("BMP of height -2^31", bmp_file(height=-(2**31)), 413, "of a side"),
    bmp("BMP of 2^31 - 1 both ways", bmp_file(width=2**31 - 1, height=2**31 - 1), 413, "of a side"),
    bmp("BMP of 60,000 x 60,000", bmp_file(width=60_000, height=60_000), 413, "3,600,000,000 pixels"),
    bmp("BMP of the most pixels, without them", bmp_file(width=8000, height=4000), 400, BROKEN),
    *(bmp(f"BMP of {bits} bits", bmp_file(bits=bits), 400, BROKEN) for bits in (3, 7, 65535)),
    *(bmp(f"BMP of {bits} bits", bmp_file(bits=bits), 400, UNSUPPORTED) for bits in (0, 2, 64)),
    *(bmp(f"BMP of compression {kind}", bmp_file(compression=kind), 400, BROKEN) for kind in (6, 2**32 - 1)),
    *(bmp(f"BMP of compression {kind}", bmp_file(compression=kind), 400, UNSUPPORTED) for kind in (4, 5, 11)),
    bmp("BMP of two billion colours", bmp_file(colours=2**31), 400, BROKEN),
    bmp("BMP of no colour", bmp_file(colours=0, bits=1), 200),
    bmp("BMP with a header of 3 bytes", bmp_file(header=3), 400, BROKEN),
    bmp("BMP with a header of 4 GB", bmp_file(header=2**32 - 1), 400, BROKEN),
    bmp("BMP whose pixels are behind its end", bmp_file(offset=10**9), 400, BROKEN),
    bmp("BMP whose pixels are its header", bmp_file(offset=0), 200),
    bmp("BMP with runs that stop", bmp_file(b"\x05\x01", compression=1), 400, BROKEN),
    bmp("BMP with a run of 4 bits that stops", bmp_file(b"\x05", bits=4, compression=2, colours=16), 400, BROKEN),
    bmp("BMP with runs beyond the row", bmp_file(b"\xff\x07" * 300 + b"\0\1", compression=1), 400, BROKEN),
    bmp("BMP with a jump beyond the picture", bmp_file(b"\0\2\xff\xff", compression=1), 200),
    bmp("BMP of empty rows", lambda: bmp_file(b"\x01\x07\0\0" * (SIDE - 1), width=SIDE, height=SIDE, compression=1), 413, TOO_LONG),
    bmp("BMP of a million runs of a pixel", lambda: bmp_file(b"\x01\x07" * 1_000_000, width=SIDE, height=SIDE, compression=1), 413, TOO_LONG),
]


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    packed = b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(packed) if size is None else size) + b"WEBP" + packed


def extended(flags: int, width: int, height: int) -> tuple[bytes, bytes]:
    """The chunk VP8X, with the size of the canvas."""
    sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"VP8X", bytes([flags, 0, 0, 0]) + sizes


def lossless(width: int, height: int) -> tuple[bytes, bytes]:
    bits = (width - 1) | (height - 1) << 14
    return b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(20)


def code_groups() -> bytes:
    """A lossless WebP of 1024 x 1024, in which each 4 x 4 pixels have codes of their own.

    WebP Lossless Bitstream Specification, sections 5 and 6. Bits come in order, lowest first.
    """
    one_symbol = "1000"  # a simple code for the symbol 0, which takes no bits
    lengths = "0" + "0001" + "".join("100" if order in (2, 11) else "000" for order in range(12))
    eight_bits = lengths + "0" + "1" * 256  # each of 256 symbols has a code of 8 bits
    header = f"{1023:014b}"[::-1] * 2 + "0" + "000"
    start = header + "0" + "0" + "1" + "000"  # no transform, no cache, a group for each 4 x 4
    codes = "0" + eight_bits + "0" * 24 + eight_bits + one_symbol * 3
    groups = "".join(f"{number & 255:08b}{number >> 8:08b}" for number in range(65_536))
    bits = start + codes + groups + one_symbol * 5 * 65_536
    packed = np.packbits(np.frombuffer(bits.encode(), np.uint8) - ord("0"), bitorder="little")
    return riff((b"VP8L", b"\x2f" + packed.tobytes()))


def lossy(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(40)


STILL = still("WEBP", "RGB")

WEBPS = [
    *(webp(f"WebP of its first {keep} bytes", STILL[:keep], 400, BROKEN) for keep in (4, 12, 16, 20, 25, len(STILL) - 1)),
    webp("WebP of 16,384 x 16,384, lossless", riff(lossless(16384, 16384)), 413, TOO_MUCH),
    webp("WebP of 16,383 x 16,383, lossy", riff(lossy(16383, 16383)), 413, TOO_MUCH),
    webp("WebP of 0 x 0, lossy", riff(lossy(0, 0)), 400, BROKEN),
    webp("WebP of noise, lossless", riff((b"VP8L", b"\x2f\x1b\xc0\x06\0" + bytes(range(200)))), 400, BROKEN),
    webp("WebP of noise, lossy", riff((b"VP8 ", bytes(range(200)))), 400, BROKEN),
    webp("WebP of the most pixels, without them", riff(lossless(8000, 4000)), 413, TOO_MUCH),
    webp("WebP with a canvas of 2^24 both ways", riff(extended(2, 2**24, 2**24), lossless(28, 28)), 400, BROKEN),
    webp("WebP with a canvas larger than its picture", riff(extended(0, 60000, 60000), lossless(28, 28)), 400, BROKEN),
    webp("WebP with an animation of no frame", riff(extended(2, 28, 28), (b"ANIM", bytes(6))), 400, BROKEN),
    webp("WebP with a canvas of 65,535 x 65,535 for an animation", riff(extended(2, 65535, 65535), (b"ANIM", bytes(6)), (b"ANMF", bytes(16) + lossless(28, 28)[0] + struct.pack("<I", 25) + lossless(28, 28)[1] + b"\0")), 413, TOO_MUCH),
    webp("WebP with no chunk", riff(), 400, BROKEN),
    webp("WebP with a chunk of 4 GB", b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff/" + bytes(50), 400, BROKEN),
    webp("WebP whose length is too small", riff(lossless(28, 28), size=4), 400, BROKEN),
    webp("WebP with an unknown first chunk", riff((b"XYZW", bytes(100)), lossless(28, 28)), 400, BROKEN),
    webp("WebP that is sound", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), 400, BROKEN),
    webp("WebP with EXIF of noise", riff(extended(8, 28, 28), (STILL[12:16], STILL[20:]), (b"EXIF", b"\xff" * 99)), 200),
    webp("WebP of 2,000 frames", lambda: film("WEBP", 2000), 200),
    webp("WebP of 65,536 groups of codes", code_groups, 413, TOO_MUCH),
    webp("WebP of 12 million pixels", lambda: still("WEBP", "RGBA", 3460), 200),
    webp("WebP of 32 million pixels in 34 bytes", lambda: still("WEBP", "RGBA", SIDE), 413, TOO_MUCH),
]

def avif(name: str, body: Body, status: int, says: str = "") -> Case:
    return picture(name, body, status, says, "image/avif")


def avif_of(width: int, height: int) -> bytes:
    """An AVIF of 28 x 28 that claims another size, in its property and in its first frame."""
    content = bytearray(save(Image.new("L", (28, 28)), "AVIF"))
    place = content.index(b"ispe") + 8
    content[place : place + 8] = struct.pack(">II", width, height)
    return bytes(content)


AVIF = save(Image.new("RGB", (28, 28)), "AVIF")

AVIFS = [
    avif("AVIF, whole", AVIF, 200),
    *(avif(f"AVIF of its first {keep} bytes", AVIF[:keep], 400, says) for keep, says in ((4, NO_PICTURE), (8, NO_PICTURE), (24, BROKEN), (60, BROKEN), (len(AVIF) - 9, BROKEN))),
    avif("AVIF of 0 x 0", avif_of(0, 0), 400, BROKEN),
    avif("AVIF of 60,000 x 60,000", avif_of(60_000, 60_000), 400, BROKEN),
    avif("AVIF of 8,000 x 8,000 that has 28 x 28", avif_of(8000, 8000), 413, TOO_MUCH),
    avif("AVIF of 7 million pixels", lambda: save(Image.new("RGB", (3000, 2400)), "AVIF", speed=10), 200),
    avif("AVIF of 32 million pixels", lambda: save(Image.new("RGB", (SIDE, SIDE)), "AVIF", speed=10), 413, TOO_MUCH),
    avif("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), 400, "HEIC, which is not supported: save it as JPEG"),
]

CASES: list[Case] = [*GIFS, *BMPS, *WEBPS, *AVIFS]
