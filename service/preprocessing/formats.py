"""The formats of picture files that are served: a new one is a line here and in the docs."""

from typing import NamedTuple


class Format(NamedTuple):
    """What has to be known of a format."""

    name: str  # as people write it
    pillow: str  # Pillow's name of its reader
    media_type: str
    suffixes: tuple[str, ...]  # of files' names, in small letters
    beginnings: tuple[bytes, ...]  # what its files begin with; RIFF is sound and film too
    inline: bool = False  # its reader takes no more memory and time than its bytes and pixels


# No decoder runs that is not in this table.
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
    Format("TIFF", "TIFF", "image/tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*")),
)

MEDIA_TYPES = tuple(one.media_type for one in FORMATS)
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
SERVED = ", ".join(one.name for one in FORMATS[:-1]) + f" or {FORMATS[-1].name}"  # for a sentence


def format_of(content: bytes) -> Format | None:
    """Say which format a file begins as, if it is one of those served."""
    return next((one for one in FORMATS if content.startswith(one.beginnings)), None)
