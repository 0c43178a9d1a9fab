"""The image file formats that are served: a new one is a line here and in the docs."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar


class Format(NamedTuple):
    """One image file format."""

    name: str  # as people write it
    pillow: str  # Pillow's name for its reader
    media_type: str
    suffixes: tuple[str, ...]  # of file names, in lower case
    beginnings: tuple[bytes, ...] = ()  # first bytes of its files; RIFF is audio and video too
    brands: tuple[bytes, ...] = ()  # of ISO's media files, ISO/IEC 14496-12, section 4.3
    inline: bool = False  # memory and time of its reader depend only on its bytes and pixels


MOST_BRANDS = 32  # looked at

# Only the decoders in this table run.
FORMATS = (
    Format("PNG", "PNG", "image/png", (".png",), (b"\x89PNG",), inline=True),
    Format(
        "JPEG",
        "JPEG",
        "image/jpeg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        (b"\xff\xd8\xff",),
        inline=True,
    ),
    Format("WebP", "WEBP", "image/webp", (".webp",), (b"RIFF",)),
    Format("BMP", "BMP", "image/bmp", (".bmp", ".dib"), (b"BM",)),
    Format("GIF", "GIF", "image/gif", (".gif",), (b"GIF8",)),
    Format("AVIF", "AVIF", "image/avif", (".avif",), brands=(b"avif", b"avis")),
    Format(
        "TIFF",
        "TIFF",
        "image/tiff",
        (".tif", ".tiff"),
        (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ),
)

MEDIA_TYPES = tuple(one.media_type for one in FORMATS)
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
SERVED = ", ".join(one.name for one in FORMATS[:-1]) + f" or {FORMATS[-1].name}"  # for a sentence

AS_JPEG_OR_PNG = "save it as JPEG or PNG"


class UnsupportedFormat(NamedTuple):
    """An image file format that is not served, and what its user can do."""

    name: str
    beginnings: tuple[bytes, ...] = ()
    brands: tuple[bytes, ...] = ()
    remedy: str = AS_JPEG_OR_PNG


AnyFormat = TypeVar("AnyFormat", Format, UnsupportedFormat)

UNSUPPORTED = (
    UnsupportedFormat(
        "HEIC",
        brands=(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        remedy="save it as JPEG (an iPhone takes photographs as JPEG with Settings, Camera, "
        "Formats, Most Compatible)",
    ),
    UnsupportedFormat("JPEG XL", (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    UnsupportedFormat("JPEG 2000", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")),
    UnsupportedFormat("SVG", (b"<svg", b"<?xml")),
    UnsupportedFormat("PDF", (b"%PDF",)),
    UnsupportedFormat("Photoshop", (b"8BPS",)),
    UnsupportedFormat("icon", (b"\0\0\1\0",)),
    UnsupportedFormat(
        "Netpbm", tuple(b"P%d%c" % (kind, end) for kind in range(1, 8) for end in b"\n ")
    ),
)


def format_of(content: bytes) -> Format | None:
    """Return the format of a file by its first bytes; None if it is not served."""
    return _by_first_bytes(content, FORMATS)


def unsupported_format_of(content: bytes) -> UnsupportedFormat | None:
    """Return the known format of a file that is not served, by its first bytes."""
    return _by_first_bytes(content, UNSUPPORTED)


def _by_first_bytes(content: bytes, formats: Sequence[AnyFormat]) -> AnyFormat | None:
    brands = _brands(content)
    return next(
        (
            one
            for one in formats
            if content.startswith(one.beginnings) or not brands.isdisjoint(one.brands)
        ),
        None,
    )


def _brands(content: bytes) -> frozenset[bytes]:
    """Return the brands of ISO's media file: AVIF and HEIC differ by nothing else at first."""
    if content[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(content[:4]), MOST_BRANDS * 4 + 16)
    return frozenset(content[place : place + 4] for place in (8, *range(16, end, 4)))
