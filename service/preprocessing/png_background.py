"""The background colour that a PNG defines for its transparent parts.

Source: PNG specification, third edition, section 11.3.4.1, chunk bKGD. Pillow does not apply it.
GIF and WebP have background colours too, but browsers ignore them and encoders write any value.
"""

import struct
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE, COLOURED = 3, 2  # the colour type for a palette; its bit for colours

RGB = tuple[int, int, int]


def png_background(content: bytes) -> RGB | None:
    """Return a PNG file's background colour in 8 bits, or None if it has none or a wrong one."""
    chunks = dict(_chunks_before_the_pixels(content))
    header, chunk = chunks.get(b"IHDR", b""), chunks.get(b"bKGD", b"")
    if len(header) != 13 or not chunk:
        return None
    depth, kind = header[8], header[9]
    if kind == PALETTE:
        entry = chunks.get(b"PLTE", b"")[3 * chunk[0] : 3 * chunk[0] + 3]
        return (entry[0], entry[1], entry[2]) if len(entry) == 3 else None
    if len(chunk) != (6 if kind & COLOURED else 2):
        return None
    values = [
        value * 255 // (2**depth - 1) for value in struct.unpack(f">{len(chunk) // 2}H", chunk)
    ]
    red, green, blue = values if len(values) == 3 else values * 3
    return (red, green, blue) if max(values) <= 255 else None


def _chunks_before_the_pixels(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and contents of a PNG's chunks; of a broken file, up to the damage."""
    place = len(SIGNATURE)
    while content.startswith(SIGNATURE) and place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"IDAT":
            return
        yield name, content[place + 8 : place + 8 + length]
        place += length + 12  # its length, name and checksum
