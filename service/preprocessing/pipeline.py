"""From an image file's bytes to a network's input, by the model's pipeline."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from service.errors import InvalidInput, RequestError, TooLarge
from service.preprocessing.bit_depth import to_8_bit
from service.preprocessing.fashion_mnist import (
    BACKGROUND,
    downscale,
    flatten,
    to_fashion_mnist,
    working_side,
)
from service.preprocessing.formats import FORMATS, SERVED, format_of
from service.preprocessing.plain_png import read_plain_png
from service.preprocessing.png_background import png_background
from service.preprocessing.time_limited_reader import TimeLimitedReader
from service.preprocessing.torchvision_transforms import DRAFTED_FROM, draft_size, transform
from service.signature import ImageSpec, Pipeline

GREY_TOLERANCE = 2  # a lossy WebP returns grey with channels that differ by one

# Pillow would warn, and above twice this number raise, before we compare with our own limit.
Image.MAX_IMAGE_PIXELS = None

# Pillow's own reader of uncompressed TIFF takes 20 s for a file of four million strips.
TiffImagePlugin.READ_LIBTIFF = True

# Each distinct warning about a broken file would stay in memory and in the log.
warnings.filterwarnings("ignore", module="PIL")

LONGEST_SIDE = 65_535  # of a JPEG or GIF; each row costs memory beyond its pixels
JPEG_PIECE = 2048  # bytes; libjpeg may work 2.5 ms on each ten, for 32 million pixels

Mode = Literal["auto", "raw", "photo"]
MODES: Mapping[Pipeline, tuple[Mode, ...]] = {
    "fashion-mnist": ("auto", "raw", "photo"),
    "resize": ("auto",),
    "center-crop": ("auto",),
}


class Preprocessing(TypedDict):
    """How a picture was preprocessed before the network."""

    mode: Annotated[
        Literal["raw", "photo", "resize", "center-crop"],
        Field(description="what auto decided, or what was asked for; else the model's pipeline"),
    ]
    negated: Annotated[bool, Field(description="the background was light")]
    trimmed: Annotated[bool, Field(description="edges of the background's colour were cut away")]


class PreprocessedImage(NamedTuple):
    """A preprocessed image."""

    pixels: NDArray[np.uint8]  # (C, H, W)
    preprocessing: Preprocessing


UNCHANGED: Preprocessing = {"mode": "raw", "negated": False, "trimmed": False}
# What a picture that needs nothing, or arrives as numbers, has gone through.
PLAIN: Mapping[Pipeline, Preprocessing] = {
    "fashion-mnist": UNCHANGED,
    "resize": {**UNCHANGED, "mode": "resize"},
    "center-crop": {**UNCHANGED, "mode": "center-crop"},
}


def read_image(
    content: bytes, max_pixels: int, spec: ImageSpec, mode: Mode = "auto"
) -> NDArray[np.uint8]:
    """Return a network's input (C, H, W) for an image file.

    Raises:
        InvalidInput, TooLarge: as in `open_image` and `preprocess`.
    """
    if seen := preprocess_fast_path(content, spec, mode):
        return seen.pixels  # (C, H, W)
    return preprocess(open_image(content, max_pixels), spec, mode).pixels  # (C, H, W)


def preprocess_fast_path(
    content: bytes, spec: ImageSpec, mode: Mode = "auto"
) -> PreprocessedImage | None:
    """Return a plain PNG preprocessed, in a third of the time; None for any other image."""
    if mode == "photo" or spec.channels != 1 or spec.pipeline == "center-crop":
        return None
    if (pixels := read_plain_png(content, spec.height, spec.width)) is None:
        return None
    return PreprocessedImage(pixels[None], PLAIN[spec.pipeline])


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Return an image with its header read; its pixels are not decoded yet.

    Args:
        content: a file of one of `FORMATS`; if it has several frames, the first is used.
        max_pixels: limit of width times height.

    Raises:
        InvalidInput: the bytes are not an image of a format served.
        TooLarge: the image has more pixels than the limit, too many in a row or column, or takes
            too long to read.
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


def draft(image: Image.Image, spec: ImageSpec) -> None:
    """Have a large JPEG decoded at 1/2, 1/4 or 1/8 of its size, which is faster by as much."""
    size = image.size
    if spec.pipeline == "fashion-mnist":
        side = working_side(spec.width, spec.height)
        image.draft(None, (side, side))
    else:
        image.draft(None, draft_size(spec))
    if image.size != size:
        image.info[DRAFTED_FROM] = size


def preprocess(image: Image.Image, spec: ImageSpec, mode: Mode = "auto") -> PreprocessedImage:
    """Return an opened image decoded and converted to a network's input.

    Args:
        image: as `open_image` returns it.
        spec: of the model's images; its pipeline says what is done.
        mode: of the pipeline `fashion-mnist`.
            `raw`: converted to grey and resized to H x W, nothing else; a light background
            stays light. `photo`: the pipeline of the data set
            (`service.preprocessing.fashion_mnist`).
            `auto`: `raw` for a grey image of H x W, whatever its colour mode, and `photo` for
            any other. The other pipelines have one way, `auto`.

    Raises:
        InvalidInput: the image is broken or cut off, or its values have no known range.
        TooLarge: the image takes too long or too much memory to decode.
    """
    with _translate_pillow_errors():
        draft(image, spec)
        image.load()
        if spec.pipeline == "fashion-mnist":
            return _preprocess_fashion_mnist(image, spec, mode)
        small = np.asarray(transform(to_8_bit(image), spec))  # (H, W) or (H, W, 3)
    pixels = small[None] if spec.channels == 1 else small.transpose(2, 0, 1)  # (C, H, W)
    return PreprocessedImage(np.ascontiguousarray(pixels), PLAIN[spec.pipeline])


def _preprocess_fashion_mnist(image: Image.Image, spec: ImageSpec, mode: Mode) -> PreprocessedImage:
    image = _upright(downscale(to_8_bit(image), working_side(spec.width, spec.height)))
    if mode == "raw" or (mode == "auto" and _is_grey_of_the_right_size(image, spec)):
        return PreprocessedImage(np.asarray(_squeezed(image, spec))[None], UNCHANGED)  # (1, H, W)
    small, negated, trimmed = to_fashion_mnist(image, spec.width, spec.height)
    return PreprocessedImage(
        np.asarray(small)[None],  # (1, H, W)
        {"mode": "photo", "negated": negated, "trimmed": trimmed},
    )


def _free_canvases(image: WebPImageFile) -> None:
    """Free an animation's two canvases, 8 bytes a pixel, after its first frame is decoded."""
    get_next = image._get_next

    def get_first() -> tuple[bytes, int, int]:
        frame = get_next()
        image._decoder = None
        return frame

    image._get_next = get_first  # type: ignore[method-assign]


def _check_tiles(image: TiffImageFile, max_pixels: int) -> None:
    """Check a TIFF's tiles against the limit: a tile may be larger than its image.

    Raises:
        InvalidInput: the size of the tiles is not a number.
        TooLarge: a tile has more pixels than the limit.
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
    """Raise Pillow's errors as errors for the client, who may see the file's damage first here."""
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
            f"{image} is broken or cut off: it begins as a {kind.name} file, but its header is not "
            "valid"
            if kind
            else f"{image} is not a {SERVED} file"
        ) from error
    except Exception as error:  # on a broken file Pillow's decoders raise all kinds
        reason = str(error) or type(error).__name__
        raise InvalidInput(f"{image} is broken or cut off: {reason}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Return an image rotated by its EXIF data; broken EXIF data is ignored."""
    with suppress(Exception):  # Pillow's EXIF reader raises all kinds, as its decoders do
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _squeezed(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Return an image resized to W x H in 8-bit grey, whatever its proportions."""
    size = (spec.width, spec.height)
    if image.size == size:
        return flatten(image).convert("L")
    grey = flatten(downscale(image, working_side(*size))).convert("L")
    return grey.resize(size, Image.Resampling.LANCZOS)


def _is_grey_of_the_right_size(image: Image.Image, spec: ImageSpec) -> bool:
    """Return whether an image is W x H without colours or transparency."""
    if image.size != (spec.width, spec.height):
        return False
    if image.mode in ("L", "1"):
        return not image.has_transparency_data
    red, green, blue, alpha = image.convert("RGBA").split()
    opaque = alpha.getextrema() == (255, 255)
    return opaque and not _differ(red, green) and not _differ(green, blue)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return int(np.asarray(ImageChops.difference(one, other)).max()) > GREY_TOLERANCE
