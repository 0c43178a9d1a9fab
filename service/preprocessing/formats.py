"""The image file formats that are served: a new one is a line here and in the docs."""

from typing import NamedTuple


class Format(NamedTuple):
    """One image file format."""

    name: str  # as people write it
    pillow: str  # Pillow's name for its reader
    media_type: str
    suffixes: tuple[str, ...]  # of file names, in lower case
    beginnings: tuple[bytes, ...]  # first bytes of its files; RIFF is audio and video too
    inline: bool = False  # memory and time of its reader depend only on its bytes and pixels


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
    Format("TIFF", "TIFF", "image/tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*")),
)

MEDIA_TYPES = tuple(one.media_type for one in FORMATS)
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
SERVED = ", ".join(one.name for one in FORMATS[:-1]) + f" or {FORMATS[-1].name}"  # for a sentence


def format_of(content: bytes) -> Format | None:
    """Return the format of a file by its first bytes; None if it is not served."""
    return next((one for one in FORMATS if content.startswith(one.beginnings)), None)
