"""Picture files of every format and colour mode, and photographs of a garment."""

import struct
import zlib
from collections.abc import Collection
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from service.preprocessing import pipeline
from service.preprocessing.pipeline import Mode, PreprocessedImage
from service.signature import ImageSpec, ModelSignature

# What the released model takes, and a signature with it for what needs no names.
FASHION = ImageSpec(1, 28, 28, "fashion-mnist")
SIGNATURE = ModelSignature(FASHION, tuple(map(str, range(10))))

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


def read_image(content: bytes, max_pixels: int, mode: Mode = "auto") -> NDArray[np.uint8]:
    """What the released model gets of a file, (28, 28)."""
    return pipeline.read_image(content, max_pixels, FASHION, mode)[0]


def preprocess(image: Image.Image, mode: Mode = "auto") -> PreprocessedImage:
    """What the released model gets of an image, its pixels (28, 28)."""
    seen = pipeline.preprocess(image, FASHION, mode)
    return seen._replace(pixels=seen.pixels[0])


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
    """The start of a PNG that claims a size, and has almost no data."""
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


def with_png_chunk(content: bytes, name: bytes, chunk: bytes) -> bytes:
    """A PNG file with one more chunk before its pixels."""
    place = content.index(b"IDAT") - 4
    return content[:place] + _chunk(name, chunk) + content[place:]


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def turned(image: Image.Image, orientation: int, kind: str, **options: Any) -> bytes:
    """A picture as a camera in that position writes it: rotated, with the EXIF orientation."""
    method = ORIENTATIONS[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    seen = image if method is None else image.transpose(method)
    return save(seen, kind, exif=exif, **options)


# What a photograph may have beyond being larger than the garment in the data set, on a page.
DISTURBANCES = ("off-centre", "in colour", "turned by EXIF", "JPEG")


def photograph(
    pixels: NDArray[np.uint8],
    random: np.random.Generator,
    *,
    dark: bool = False,
    disturbances: Collection[str] = DISTURBANCES,
) -> bytes:
    """A picture file of a garment (28, 28) as a shop might take it.

    The garment is upscaled on a white page (or a black one). It may lie somewhere on a page
    larger than itself, have a colour at its own brightness, be taken with the camera held
    anyhow, and be a JPEG of quality 50 to 95 in place of a TIFF.
    """
    edge = int(random.integers(100, 300))
    shown = Image.fromarray(pixels if dark else 255 - pixels)
    page = shown.resize((edge, edge), Image.Resampling.BICUBIC).convert("RGB")
    if "in colour" in disturbances:
        page = _coloured(page, random)
    if "off-centre" in disturbances:
        page = _off_centre(page, random, (0, 0, 0) if dark else (255, 255, 255))
    orientation = int(random.integers(1, 9)) if "turned by EXIF" in disturbances else 1
    if "JPEG" in disturbances:
        return turned(page, orientation, "JPEG", quality=int(random.integers(50, 96)))
    return turned(page, orientation, "TIFF")


def _coloured(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Give grey a random colour of the same brightness, by ITU-R BT.601."""
    grey = np.asarray(image.convert("L"), np.float64)  # (H, W)
    tint = random.normal(size=3)
    tint -= tint @ (0.299, 0.587, 0.114)
    tint /= np.abs(tint).max()
    room = np.minimum(grey, 255 - grey)  # for colour, without a change of brightness
    colours = grey[..., None] + 0.8 * room[..., None] * tint  # (H, W, 3)
    return Image.fromarray(colours.round().clip(0, 255).astype(np.uint8))


def _off_centre(
    garment: Image.Image, random: np.random.Generator, background: tuple[int, int, int]
) -> Image.Image:
    """Put a garment somewhere on a background that is 20 to 200 pixels larger each way."""
    right, down = random.integers(20, 200, size=2)
    page = Image.new("RGB", (garment.width + int(right), garment.height + int(down)), background)
    page.paste(garment, (int(random.integers(right)), int(random.integers(down))))
    return page
