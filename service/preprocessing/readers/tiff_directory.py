"""The directory of a TIFF: its tags and their numbers, and in words of which kind the file is.

Sources: TIFF, revision 6.0, sections 2 and 8; the numbers of compressions are libtiff's.
"""

import struct
from enum import IntEnum
from typing import NamedTuple


class Tag(IntEnum):
    """The tags that are read here."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS = 278
    STRIP_COUNTS = 279
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339


BYTE_CODECS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate, PackBits, LZMA, Zstandard
IMAGE_CODECS = (2, 3, 4, 6, 7)  # CCITT, JPEG
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
UNSIGNED, SIGNED, FLOATING = 1, 2, 3

PHOTOMETRIC_NAMES = {WHITE_IS_ZERO: "grey, white is 0", BLACK_IS_ZERO: "grey", RGB: "RGB"}
PHOTOMETRIC_NAMES |= {3: "palette", 4: "mask", CMYK: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab"}
PHOTOMETRIC_NAMES |= {32803: "colour filter array", 32844: "LogL", 32845: "LogLuv"}
FORMAT_NAMES = {UNSIGNED: "", SIGNED: "signed", FLOATING: "floating point", 4: "undefined"}
FORMAT_NAMES |= {5: "complex integers", 6: "complex numbers"}
COMPRESSION_NAMES = {1: "uncompressed", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "deflate"}
COMPRESSION_NAMES |= {32773: "PackBits", 34676: "SGI Log", 34712: "JPEG 2000", 34925: "LZMA"}
COMPRESSION_NAMES |= {34887: "LERC", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}

SHORT, LONG = 3, 4  # types of a tag's numbers
MOST_VALUES = 16  # read of a tag; a pixel has no more samples


class Layout(NamedTuple):
    """How a classic TIFF or BigTIFF is written down."""

    order: str  # of the bytes, as `struct` has it
    start: int  # of the number that says where the directory is
    number: str  # of entries, as `struct` has it
    entry: str  # number, type, how many, and bytes of the value or of its place
    offset: str


CLASSIC = {b"II*\0": "<", b"MM\0*": ">"}
BIG = {b"II+\0": "<"}
BIG_BIG_ENDIAN = b"MM\0+"  # which Pillow does not take for BigTIFF


class TiffDirectory(NamedTuple):
    """The first directory of a TIFF: what its tags say of its first image."""

    layout: Layout
    entries: dict[int, tuple[int, int, bytes]]  # by tag: type, how many, value or place
    values: dict[int, tuple[int, ...]]  # whole numbers, of the tags that have few, by tag

    def first(self, tag: int, default: int = 0) -> int:
        """Return a tag's first number, or the default if it has none."""
        return (self.values.get(tag) or (default,))[0]


def read_directory(content: bytes) -> TiffDirectory | None:
    """Return a TIFF's first directory; None if it is broken, or of a layout not read here."""
    if order := CLASSIC.get(content[:4]):
        layout = Layout(order, 4, "H", "HHI4s", "I")
    elif (order := BIG.get(content[:4])) and content[4:8] == struct.pack(order + "HH", 8, 0):
        layout = Layout(order, 8, "Q", "HHQ8s", "Q")
    else:
        return None
    entry = struct.Struct(order + layout.entry)
    try:
        (start,) = struct.unpack_from(order + layout.offset, content, layout.start)
        (count,) = struct.unpack_from(order + layout.number, content, start)
        start += struct.calcsize(layout.number)
        if start + count * entry.size > len(content):
            return None
        entries = {
            tag: (kind, number, value)
            for tag, kind, number, value in entry.iter_unpack(
                content[start : start + count * entry.size]
            )
        }
        values = {
            tag: _values(content, layout, *found)
            for tag, found in entries.items()
            if Tag.WIDTH <= tag <= Tag.SAMPLE_FORMAT and found[1] <= MOST_VALUES
        }
    except struct.error:
        return None
    return TiffDirectory(layout, entries, values)


def _values(
    content: bytes, layout: Layout, kind: int, number: int, value: bytes
) -> tuple[int, ...]:
    """Return a tag's whole numbers; none for other types.

    Raises:
        struct.error: they are behind the file's end.
    """
    letter = {1: "B", SHORT: "H", LONG: "I", 16: "Q"}.get(kind)
    if letter is None:
        return ()
    format_ = f"{layout.order}{number}{letter}"
    if struct.calcsize(format_) <= len(value):
        return struct.unpack_from(format_, value)
    return struct.unpack_from(format_, content, *struct.unpack(layout.order + layout.offset, value))


def describe_tiff(content: bytes) -> str | None:
    """Return in words of which kind a TIFF is; None if its tags contradict each other."""
    if content.startswith(BIG_BIG_ENDIAN):
        return "big-endian BigTIFF"
    directory = read_directory(content)
    if directory is None:
        return None
    values = directory.values
    bits = sorted(set(values.get(Tag.BITS, (1,))))
    channels, photometric = directory.first(Tag.SAMPLES, 1), directory.first(Tag.PHOTOMETRIC)
    compression = directory.first(Tag.COMPRESSION, 1)
    if not channels or not all(0 < depth <= 64 for depth in bits):
        return None
    colours = PHOTOMETRIC_NAMES.get(photometric, f"photometric interpretation {photometric}")
    formats = {FORMAT_NAMES.get(one, f"format {one}") for one in values.get(Tag.SAMPLE_FORMAT, ())}
    return (
        f"{colours}, {channels} sample{'s' * (channels > 1)} of {' and '.join(map(str, bits))} bits"
        + "".join(f", {name}" for name in sorted(formats - {""}))
        + (
            f", alpha or extra samples {extra}"
            if (extra := list(values.get(Tag.EXTRA_SAMPLES, ())))
            else ""
        )
        + f", {COMPRESSION_NAMES.get(compression, f'compression {compression}')}"
    )


def is_known(content: bytes, directory: TiffDirectory | None) -> bool:
    """Return whether Pillow may know a TIFF's layout and codec; True for a broken one."""
    if directory is None:
        return not content.startswith(BIG_BIG_ENDIAN)
    return directory.first(Tag.COMPRESSION, 1) in BYTE_CODECS + IMAGE_CODECS
