"""The chunks of a PNG: which of them matter, and what they say of transparency.

Source: PNG specification, third edition, sections 5.2, 5.3, 11.3.2.1 (tRNS) and 11.3.4.1 (bKGD).
Pillow refuses a file for a wrong checksum in metadata, or for much metadata, and takes a
transparent grey of few bits for one of eight; browsers do not.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE = 0, 2, 3  # colour types
COLOURED = 2  # the bit of a colour type for colours
ANCILLARY = 0x20  # the bit of a name's first letter for chunks that a decoder may pass over
KEPT = (b"tRNS", b"eXIf")  # of the ancillary chunks
USED = (b"IHDR", b"PLTE", b"tRNS", b"bKGD", b"gAMA", b"sRGB", b"iCCP")
SRGB_GAMMA = 45_455  # as gAMA has it: 1 / 2.2 in 100,000ths
GAMMA_TOLERANCE = 0.05  # libpng's: less is not seen

Colour = tuple[int, int, int]


class PngHeader(NamedTuple):
    """What is known of a PNG before its pixels."""

    depth: int  # bits of a sample
    colour_type: int
    chunks: dict[bytes, bytes]  # before the pixels, by their names


def png_header(content: bytes) -> PngHeader | None:
    """Return a PNG file's header, or None if it has none of the right length."""
    chunks = {
        chunk.name: content[chunk.start + 8 : chunk.end - 4]
        for chunk in _chunks(content, until=b"IDAT")
        if chunk.name in USED and _checksum_is_right(content, chunk)
    }
    header = chunks.get(b"IHDR", b"")
    return PngHeader(header[8], header[9], chunks) if len(header) == 13 else None


def png_background(header: PngHeader) -> Colour | None:
    """Return a PNG's background colour in 8 bits, or None if it has none or a wrong one.

    GIF and WebP have background colours too, but encoders write any value.
    """
    chunk = header.chunks.get(b"bKGD", b"")
    if not chunk:
        return None
    if header.colour_type == PALETTE:
        entry = header.chunks.get(b"PLTE", b"")[3 * chunk[0] : 3 * chunk[0] + 3]
        return (entry[0], entry[1], entry[2]) if len(entry) == 3 else None
    if len(chunk) != (6 if header.colour_type & COLOURED else 2):
        return None
    values = [scaled(value, header.depth) for value in _shorts(chunk)]
    red, green, blue = values if len(values) == 3 else values * 3
    return (red, green, blue) if max(values) <= 255 else None


def transparent_samples(header: PngHeader) -> tuple[int, ...] | None:
    """Return the one grey (1) or colour (3) that is transparent, in the PNG's own bits, or None."""
    chunk = header.chunks.get(b"tRNS", b"")
    count = {GREY: 1, RGB: 3}.get(header.colour_type)
    return _shorts(chunk) if count is not None and len(chunk) == 2 * count else None


def gamma_exponent(header: PngHeader) -> float | None:
    """Return the power that brings samples in [0, 1] to sRGB; None where there is nothing to do.

    Browsers do this; ImageMagick does it if the samples are linear.
    """
    chunk = header.chunks.get(b"gAMA", b"")
    if len(chunk) != 4 or not header.chunks.keys().isdisjoint((b"sRGB", b"iCCP")):
        return None
    gamma = int.from_bytes(chunk)
    if gamma == 0 or abs(SRGB_GAMMA / gamma - 1) < GAMMA_TOLERANCE:
        return None
    return SRGB_GAMMA / gamma


def scaled(value: int, depth: int) -> int:
    """Return a sample of some bits in 8."""
    return value * 255 // ((1 << depth) - 1)


def without_metadata(content: bytes) -> bytes:
    """Return a PNG with only the chunks that change what is shown; a plain one as it is.

    As libpng does, ancillary chunks whose checksum is wrong are dropped too. Of a file that is
    broken or cut off, what stands from the damage on stays.
    """
    parts, kept_until = [], 0
    for chunk in _chunks(content):
        if chunk.name[0] & ANCILLARY and not (
            chunk.name in KEPT and _checksum_is_right(content, chunk)
        ):
            parts.append(content[kept_until : chunk.start])
            kept_until = chunk.end
    if not parts:
        return content
    return b"".join((*parts, content[kept_until:]))


class _Chunk(NamedTuple):
    """Where a chunk stands."""

    name: bytes
    start: int
    end: int  # after its checksum


def _chunks(content: bytes, until: bytes = b"IEND") -> Iterator[_Chunk]:
    """Yield a PNG's chunks before that of a name; of a broken file, up to the damage."""
    start = len(SIGNATURE)
    while content.startswith(SIGNATURE) and start + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if name == until or end > len(content) or not name.isalpha():
            return
        yield _Chunk(name, start, end)
        start = end


def _checksum_is_right(content: bytes, chunk: _Chunk) -> bool:
    (checksum,) = struct.unpack_from(">I", content, chunk.end - 4)
    return bool(zlib.crc32(content[chunk.start + 4 : chunk.end - 4]) == checksum)


def _shorts(chunk: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(chunk) // 2}H", chunk)
