"""Picture files of every format and colour mode, and photographs of a garment."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

TRANSPOSE = Image.Transpose

# What a camera does to a picture that is to be seen upright, by the number that it notes.
ORIENTATIONS = {
    1: None,
    2: TRANSPOSE.FLIP_LEFT_RIGHT,
    3: TRANSPOSE.ROTATE_180,
    4: TRANSPOSE.FLIP_TOP_BOTTOM,
    5: TRANSPOSE.TRANSPOSE,
    6: TRANSPOSE.ROTATE_90,
    7: TRANSPOSE.TRANSVERSE,
    8: TRANSPOSE.ROTATE_270,
}


def encode(pixels: NDArray[np.uint8], kind: str = "PNG", mode: str = "L", **options: Any) -> bytes:
    """Write grey pixels (H, W) as a file of a format, in a colour mode that shows the same."""
    return save(in_mode(pixels, mode), kind, **options)


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def in_mode(pixels: NDArray[np.uint8], mode: str) -> Image.Image:
    """Grey pixels (H, W) as an image of a mode; 8 bits become 16 with 255 as 65535."""
    if mode in ("I;16", "I;16B"):
        values = pixels.astype("<u2" if mode == "I;16" else ">u2") * 257  # (H, W)
        size = (pixels.shape[1], pixels.shape[0])
        return Image.frombytes(mode, size, values.astype(values.dtype).tobytes())
    return Image.fromarray(pixels).convert(mode)


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims a size, and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"0"))


def png_with_16_bits_a_channel(pixels: NDArray[np.uint8], colours: int) -> bytes:
    """A PNG of 16 bits a channel: 2 grey and alpha, 3 RGB, 4 RGBA. Pillow cannot write one."""
    height, width = pixels.shape
    values = np.repeat(pixels[..., None].astype(">u2") * 257, colours, axis=2)  # (H, W, colours)
    if colours in (2, 4):
        values[..., -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {2: 4, 3: 2, 4: 6}[colours]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def turned(image: Image.Image, orientation: int, kind: str, **options: Any) -> bytes:
    """A picture as a camera held that way writes it: turned, with a note how to turn it back."""
    method = ORIENTATIONS[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    seen = image if method is None else image.transpose(method)
    return save(seen, kind, exif=exif, **options)


def photograph(
    pixels: NDArray[np.uint8], random: np.random.Generator, *, dark: bool = False
) -> bytes:
    """A JPEG of a garment (28, 28) as a shop might take it.

    The garment is upscaled and coloured at its own brightness, lies somewhere on a larger
    white page (or a black one), the camera is held anyhow, the JPEG's quality is 50 to 95.
    """
    edge = int(random.integers(120, 360))
    shown = Image.fromarray(pixels if dark else 255 - pixels)
    large = np.asarray(shown.resize((edge, edge), Image.Resampling.BICUBIC), np.float64)  # (E, E)
    tint = random.normal(size=3)
    tint -= tint @ (0.299, 0.587, 0.114)  # of no brightness, by ITU-R BT.601
    tint /= np.abs(tint).max()
    room = np.minimum(large, 255 - large)  # for colour, without a change of brightness
    colours = large[..., None] + 0.8 * room[..., None] * tint  # (E, E, 3)
    garment = Image.fromarray(colours.round().clip(0, 255).astype(np.uint8))
    width, height = edge + random.integers(20, 200, size=2)
    page = Image.new("RGB", (int(width), int(height)), (0, 0, 0) if dark else (255, 255, 255))
    page.paste(garment, (int(random.integers(width - edge)), int(random.integers(height - edge))))
    orientation, quality = int(random.integers(1, 9)), int(random.integers(50, 96))
    return turned(page, orientation, "JPEG", quality=quality)
