"""From an image file's bytes to a network's input, by the model's pipeline."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from service.preprocessing.bit_depth import to_8_bit
from service.preprocessing.fashion_mnist import (
    downscale,
    flatten,
    to_fashion_mnist,
    working_side,
)
from service.preprocessing.opening import load, open_image, translate_pillow_errors
from service.preprocessing.plain_png import read_plain_png
from service.preprocessing.torchvision_transforms import DRAFTED_FROM, draft_size, transform
from service.signature import ImageSpec, Pipeline

GREY_TOLERANCE = 2  # a lossy WebP returns grey with channels that differ by one

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
    negated: Annotated[
        bool, Field(description="background made 0, object negated: all photographs")
    ]
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
    with translate_pillow_errors():
        draft(image, spec)
        image = load(image)
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
