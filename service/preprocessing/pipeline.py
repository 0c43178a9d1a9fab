"""From the bytes of a picture to what the network sees: 28 x 28, grey, background 0."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes typing's own only from Python 3.12 on

from service.errors import InvalidInput, RequestError, TooLarge
from service.preprocessing.bit_depth import to_8_bit
from service.preprocessing.fashion_mnist import (
    BACKGROUND,
    MAX_WORKING_SIDE,
    downscale,
    flatten,
    to_fashion_mnist,
)
from service.preprocessing.formats import FORMATS, SERVED, format_of
from service.preprocessing.plain_png import read_plain_png
from service.preprocessing.png_background import png_background
from service.preprocessing.time_limited_reader import TimeLimitedReader

SIDE = 28
GREY_TOLERANCE = 2  # a lossy WebP gives grey back with its channels one apart

# Pillow warns, and above twice this number raises, before we can compare with our own limit.
Image.MAX_IMAGE_PIXELS = None

# Pillow's own reader of uncompressed TIFF spends 20 s on a file of four million strips.
TiffImagePlugin.READ_LIBTIFF = True

# Each distinct warning about a broken file would stay in memory, and in the log.
warnings.filterwarnings("ignore", module="PIL")

LONGEST_SIDE = 65_535  # of a JPEG or GIF; each row costs memory beyond its pixels
JPEG_PIECE = 2048  # bytes; libjpeg may work 2.5 ms on each ten, for 32 million pixels

Mode = Literal["auto", "raw", "photo"]


class Preprocessing(TypedDict):
    """What was done to a picture before the network saw it."""

    mode: Annotated[
        Literal["raw", "photo"], Field(description="what auto decided, or what was asked for")
    ]
    negated: Annotated[bool, Field(description="the background was light")]
    trimmed: Annotated[bool, Field(description="edges of the background's colour were cut away")]


class PreprocessedImage(NamedTuple):
    """A picture as the network sees it."""

    pixels: NDArray[np.uint8]  # (28, 28), 0 for background, 255 for garment
    preprocessing: Preprocessing


UNCHANGED: Preprocessing = {"mode": "raw", "negated": False, "trimmed": False}


def read_image(content: bytes, max_pixels: int, mode: Mode = "auto") -> NDArray[np.uint8]:
    """Open a picture and return what the network sees of it, (28, 28).

    Raises:
        InvalidInput, TooLarge: as `open_image` and `preprocess` do.
    """
    if seen := preprocess_fast_path(content, mode):
        return seen.pixels  # (28, 28)
    return preprocess(open_image(content, max_pixels), mode).pixels  # (28, 28)


def preprocess_fast_path(content: bytes, mode: Mode = "auto") -> PreprocessedImage | None:
    """Do both in a third of the time where nothing has to be done to the picture, else nothing."""
    if mode == "photo" or (pixels := read_plain_png(content)) is None:
        return None
    return PreprocessedImage(pixels, UNCHANGED)


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Read a picture's header, and so its size; its pixels are not decoded yet.

    Args:
        content: a file of one of `FORMATS`; of several frames the first counts.
        max_pixels: the largest width times height that is decoded.

    Raises:
        InvalidInput: the bytes are no picture of a format served, or take too long to read.
        TooLarge: the picture has more pixels than the limit, or too many in a row or column.
    """
    if not content:
        raise InvalidInput(f"the image is empty: send a {SERVED} file")
    with _translate_pillow_errors(content):
        image = Image.open(TimeLimitedReader(content), formats=[one.pillow for one in FORMATS])
    width, height = image.size
    if max(width, height) > LONGEST_SIDE:
        raise TooLarge(
            f"the image has {width} x {height} pixels, {LONGEST_SIDE:,} are the limit of a side: "
            "send a smaller one"
        )
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has {width} x {height} = {width * height:,} pixels, {max_pixels:,} are "
            "the limit: send a smaller one"
        )
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = JPEG_PIECE
    if isinstance(image, WebPImageFile):
        _free_canvases(image)
    if isinstance(image, TiffImageFile):
        _check_tiles(image, max_pixels)
    if image.format == "PNG" and (background := png_background(content)):
        image.info[BACKGROUND] = background
    return image


def preprocess(image: Image.Image, mode: Mode = "auto") -> PreprocessedImage:
    """Decode an opened picture and make it what the network was trained on.

    Args:
        image: as `open_image` gives it.
        mode: `raw`: in grey and squeezed to 28 x 28, no more; a light background stays
            light. `photo`: through the pipeline of the data set
            (`service.preprocessing.fashion_mnist`).
            `auto`: a grey picture of 28 x 28, whatever its colour mode, is taken as `raw`
            and any other as `photo`.

    Raises:
        InvalidInput: the picture is broken or cut off, or takes too long to decode, or its
            values have no known range.
    """
    with _translate_pillow_errors():
        # A large JPEG is decoded at a half, a quarter or an eighth of its size, as much faster.
        image.draft(None, (MAX_WORKING_SIDE, MAX_WORKING_SIDE))
        image.load()
        image = _upright(downscale(to_8_bit(image)))
        if mode == "raw" or (mode == "auto" and _is_grey_of_the_right_size(image)):
            return PreprocessedImage(np.asarray(_squeezed(image)), UNCHANGED)
        small, negated, trimmed = to_fashion_mnist(image)
    return PreprocessedImage(
        np.asarray(small), {"mode": "photo", "negated": negated, "trimmed": trimmed}
    )


def _free_canvases(image: WebPImageFile) -> None:
    """Have an animation's two canvases, 8 bytes a pixel, freed once its first frame is there."""
    get_next = image._get_next

    def get_first() -> tuple[bytes, int, int]:
        frame = get_next()
        image._decoder = None
        return frame

    image._get_next = get_first  # type: ignore[method-assign]


def _check_tiles(image: TiffImageFile, max_pixels: int) -> None:
    """Hold what a TIFF is made of to the limit too: a tile may be larger than its picture.

    Raises:
        TooLarge: its tiles have more pixels than the limit.
    """
    width, height = image.tag_v2.get(TILEWIDTH, 0), image.tag_v2.get(TILELENGTH, 0)
    if not isinstance(width, int) or not isinstance(height, int):
        raise InvalidInput(f"the image is broken: its tiles are of {width} x {height}")
    if width * height > max_pixels:
        raise TooLarge(
            f"the image has tiles of {width} x {height} = {width * height:,} pixels, "
            f"{max_pixels:,} are the limit: save it with smaller ones"
        )


@contextmanager
def _translate_pillow_errors(content: bytes = b"") -> Iterator[None]:
    """Tell the client what Pillow found wrong with a file, of which it may be the first reader."""
    image = f"the image ({len(content):,} bytes)" if content else "the image"
    try:
        yield
    except RequestError:
        raise
    except MemoryError as error:
        raise TooLarge(
            f"{image} takes more memory to decode than there is: send a smaller one"
        ) from error
    except UnidentifiedImageError as error:
        kind = format_of(content)
        raise InvalidInput(
            f"{image} is broken or cut off: it begins as a {kind.name} file, and its head is none"
            if kind
            else f"{image} is no {SERVED} file"
        ) from error
    except Exception as error:  # on a broken file Pillow's decoders raise all kinds
        reason = str(error) or type(error).__name__
        raise InvalidInput(f"{image} is broken or cut off: {reason}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF data says; broken EXIF data says nothing."""
    with suppress(Exception):  # Pillow's reader of EXIF raises all kinds, as its decoders do
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _squeezed(image: Image.Image) -> Image.Image:
    """Bring a picture to 28 x 28 in 8-bit grey, whatever its proportions."""
    if image.size == (SIDE, SIDE):
        return flatten(image).convert("L")
    grey = flatten(downscale(image)).convert("L")
    return grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _is_grey_of_the_right_size(image: Image.Image) -> bool:
    """Whether it is 28 x 28 without colours or transparency."""
    if image.size != (SIDE, SIDE):
        return False
    if image.mode in ("L", "1"):
        return not image.has_transparency_data
    red, green, blue, alpha = image.convert("RGBA").split()
    opaque = alpha.getextrema() == (255, 255)
    return opaque and not _differ(red, green) and not _differ(green, blue)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return int(np.asarray(ImageChops.difference(one, other)).max()) > GREY_TOLERANCE
