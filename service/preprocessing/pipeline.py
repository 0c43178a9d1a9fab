"""From an image file's bytes to the network's input: 28 x 28, grey, background 0."""

from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from service.preprocessing.bit_depth import to_8_bit
from service.preprocessing.fashion_mnist import downscale, flatten, to_fashion_mnist
from service.preprocessing.opening import load, open_image, translate_pillow_errors
from service.preprocessing.plain_png import read_plain_png

SIDE = 28
GREY_TOLERANCE = 2  # a lossy WebP returns grey with channels that differ by one

Mode = Literal["auto", "raw", "photo"]


class Preprocessing(TypedDict):
    """How a picture was preprocessed before the network."""

    mode: Annotated[
        Literal["raw", "photo"], Field(description="what auto decided, or what was asked for")
    ]
    negated: Annotated[bool, Field(description="the background was light")]
    trimmed: Annotated[bool, Field(description="edges of the background's colour were cut away")]


class PreprocessedImage(NamedTuple):
    """A preprocessed image."""

    pixels: NDArray[np.uint8]  # (28, 28), 0 for background, 255 for garment
    preprocessing: Preprocessing


UNCHANGED: Preprocessing = {"mode": "raw", "negated": False, "trimmed": False}


def read_image(content: bytes, max_pixels: int, mode: Mode = "auto") -> NDArray[np.uint8]:
    """Return the network's input (28, 28) for an image file.

    Raises:
        InvalidInput, TooLarge: as in `open_image` and `preprocess`.
    """
    if seen := preprocess_fast_path(content, mode):
        return seen.pixels  # (28, 28)
    return preprocess(open_image(content, max_pixels), mode).pixels  # (28, 28)


def preprocess_fast_path(content: bytes, mode: Mode = "auto") -> PreprocessedImage | None:
    """Return a plain PNG preprocessed, in a third of the time; None for any other image."""
    if mode == "photo" or (pixels := read_plain_png(content)) is None:
        return None
    return PreprocessedImage(pixels, UNCHANGED)


def preprocess(image: Image.Image, mode: Mode = "auto") -> PreprocessedImage:
    """Return an opened image decoded and converted to the network's input.

    Args:
        image: as `open_image` returns it.
        mode: `raw`: converted to grey and resized to 28 x 28, nothing else; a light background
            stays light. `photo`: the pipeline of the data set
            (`service.preprocessing.fashion_mnist`).
            `auto`: `raw` for a grey image of 28 x 28, whatever its colour mode, and `photo` for
            any other.

    Raises:
        InvalidInput: the image is broken or cut off, or its values have no known range.
        TooLarge: the image takes too long or too much memory to decode.
    """
    with translate_pillow_errors():
        image = _upright(downscale(to_8_bit(load(image))))
        if mode == "raw" or (mode == "auto" and _is_grey_of_the_right_size(image)):
            return PreprocessedImage(np.asarray(_squeezed(image)), UNCHANGED)
        small, negated, trimmed = to_fashion_mnist(image)
    return PreprocessedImage(
        np.asarray(small), {"mode": "photo", "negated": negated, "trimmed": trimmed}
    )


def _upright(image: Image.Image) -> Image.Image:
    """Return an image rotated by its EXIF data; broken EXIF data is ignored."""
    with suppress(Exception):  # Pillow's EXIF reader raises all kinds, as its decoders do
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _squeezed(image: Image.Image) -> Image.Image:
    """Return an image resized to 28 x 28 in 8-bit grey, whatever its proportions."""
    if image.size == (SIDE, SIDE):
        return flatten(image).convert("L")
    grey = flatten(downscale(image)).convert("L")
    return grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _is_grey_of_the_right_size(image: Image.Image) -> bool:
    """Return whether an image is 28 x 28 without colours or transparency."""
    if image.size != (SIDE, SIDE):
        return False
    if image.mode in ("L", "1"):
        return not image.has_transparency_data
    red, green, blue, alpha = image.convert("RGBA").split()
    opaque = alpha.getextrema() == (255, 255)
    return opaque and not _differ(red, green) and not _differ(green, blue)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return int(np.asarray(ImageChops.difference(one, other)).max()) > GREY_TOLERANCE
