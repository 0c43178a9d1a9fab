"""From the bytes of a picture to what the network sees: 28 x 28, grey, background 0."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from service.errors import InvalidInput, TooLarge
from service.photographs import to_fashion_mnist

SIDE = 28
GREY_TOLERANCE = 2  # a lossy WebP gives grey back with its channels one apart

# Pillow warns, and above twice this number raises, before we can compare with our own limit.
Image.MAX_IMAGE_PIXELS = None

# No decoder runs that is not in this list.
FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
}


def read_image(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a picture and make it what the network was trained on.

    A grey picture of 28 x 28 is taken as it is, whatever its colour mode; any
    other goes through the pipeline of the data set (`service.photographs`).

    Args:
        content: a PNG, JPEG, WebP, BMP, GIF (first frame) or TIFF file.
        max_pixels: the largest width times height that is decoded.

    Returns:
        (28, 28), 0 for background, 255 for garment.

    Raises:
        InvalidInput: the bytes are no whole picture of a format served.
        TooLarge: the picture has more pixels than the limit.
    """
    return as_network_sees(open_image(content, max_pixels))  # (28, 28)


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Read a picture's header, and so its size; its pixels are not decoded yet.

    Raises:
        InvalidInput: the bytes are no picture of a format served.
        TooLarge: the picture has more pixels than the limit.
    """
    if not content:
        raise InvalidInput("the image is empty: send a PNG, JPEG, WebP, BMP, GIF or TIFF file")
    with _faults_of_pillow(len(content)):
        image = Image.open(BytesIO(content), formats=list(FORMATS.values()))
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has {width} x {height} = {width * height:,} pixels, {max_pixels:,} are "
            "the limit: send a smaller one"
        )
    return image


def as_network_sees(image: Image.Image) -> NDArray[np.uint8]:
    """Decode an opened picture and bring it to (28, 28), as `read_image` says.

    Raises:
        InvalidInput: the picture is broken or cut off.
    """
    with _faults_of_pillow():
        image.load()
        image = _in_eight_bits(_upright(image))
    grey = _as_grey(image) if image.size == (SIDE, SIDE) else None
    return np.asarray(grey if grey is not None else to_fashion_mnist(image))  # (28, 28)


@contextmanager
def _faults_of_pillow(size: int | None = None) -> Iterator[None]:
    """Tell the client what Pillow found wrong with a file of that many bytes."""
    image = "the image" if size is None else f"the image ({size:,} bytes)"
    try:
        yield
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{image} is no PNG, JPEG, WebP, BMP, GIF or TIFF file") from error
    except Exception as error:  # on a broken file Pillow's decoders raise all kinds
        raise InvalidInput(f"{image} is broken or cut off: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data says; broken EXIF data says nothing."""
    with suppress(Exception):  # Pillow's reader of EXIF raises all kinds, as its decoders do
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit grey to 8 bits; Pillow itself would clip it, or refuse."""
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)  # (H, W) uint16
    return Image.fromarray((values // 257).astype(np.uint8))


def _as_grey(image: Image.Image) -> Image.Image | None:
    """Return the picture in 8-bit grey, or None if it has colours or transparency."""
    if image.mode in ("L", "1"):
        return image.convert("L")
    red, green, blue, alpha = image.convert("RGBA").split()
    if alpha.getextrema() != (255, 255) or _differ(red, green) or _differ(green, blue):
        return None
    return image.convert("RGB").convert("L")


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return int(np.asarray(ImageChops.difference(one, other)).max()) > GREY_TOLERANCE
