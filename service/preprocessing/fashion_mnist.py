"""The pipeline that made Fashion-MNIST from a shop's photographs.

Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, https://arxiv.org/abs/1708.07747, section 2: trim edges of the corner's colour,
longest edge to 28, sharpen, centre on 28 x 28, negate, grey.
"""

from math import ceil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

SIDE = 28
MAX_WORKING_SIDE = 8 * SIDE  # a photograph is first reduced to this size, so that the rest is fast
BAND_PIXELS = 2**20  # pixels of an image that are converted at a time

# Bilevel pixels and palette indices cannot be averaged, and transparency affects the average. An
# image of these modes is converted before it is reduced.
CONVERTED = ("1", "P", "PA", "LA", "RGBA")

TRIM_TOLERANCE = 13  # 5 % of 255, as in the paper
WHITE = (255, 255, 255)
BACKGROUND = (
    "fashion_lenet.background"  # key in an image's info for its own background, if it has one
)
GAMMA_EXPONENT = "fashion_lenet.gamma_exponent"  # key for the power that brings it to sRGB


class FashionMnistImage(NamedTuple):
    """A photograph converted as in the data set."""

    image: Image.Image  # 28 x 28 in 8-bit grey, background dark, garment light
    negated: bool  # its background was light
    trimmed: bool  # edges of the background's colour were removed


def to_fashion_mnist(image: Image.Image) -> FashionMnistImage:
    """Return an image of a garment, converted as in the data set.

    The paper's photographs have a white background, and all are negated. Here the background is
    the border's colour, and the image is negated only if the background is light.

    Args:
        image: decoded and upright, of any size, in any of Pillow's modes of 8 bits.
    """
    grey = flatten(downscale(image)).convert("L")
    background = _background(grey)
    trimmed = _trim(grey, background)
    small = _resize_longest_edge(trimmed, SIDE, Image.Resampling.LANCZOS).filter(
        ImageFilter.SHARPEN
    )
    canvas = Image.new("L", (SIDE, SIDE), background)
    canvas.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    light = background > 127
    return FashionMnistImage(
        ImageOps.invert(canvas) if light else canvas, light, trimmed.size != grey.size
    )


def downscale(image: Image.Image) -> Image.Image:
    """Return a large image reduced to `MAX_WORKING_SIDE`."""
    if max(image.size) <= MAX_WORKING_SIDE:
        return image
    if image.mode in CONVERTED:
        return _reduce_in_bands(image)
    return _resize_longest_edge(image, MAX_WORKING_SIDE, Image.Resampling.BOX)


def _reduce_in_bands(image: Image.Image) -> Image.Image:
    """Return a reduced image, converted in bands: all rows at once would take twice the memory."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    reduced = Image.new(mode, _fitted(image.size, MAX_WORKING_SIDE))
    reduced.info = image.info
    scale = image.height / reduced.height
    rows = max(1, int(BAND_PIXELS / (scale * image.width)))  # of the result
    for top in range(0, reduced.height, rows):
        below = min(top + rows, reduced.height)
        start, end = top * scale, min(below * scale, image.height)
        band = image.crop((0, int(start), image.width, ceil(end))).convert(mode)
        box = (0, start - int(start), image.width, end - int(start))
        size = (reduced.width, below - top)
        reduced.paste(band.resize(size, Image.Resampling.BOX, box), (0, top))
    return reduced


def flatten(image: Image.Image) -> Image.Image:
    """Return a transparent image on its own background, or on white, as on a shop's page."""
    if not image.has_transparency_data:
        return _in_srgb(image if image.mode == "L" else image.convert("RGB"), image.info)
    foreground = _in_srgb(image.convert("RGBA"), image.info)
    page = Image.new("RGBA", foreground.size, image.info.get(BACKGROUND, WHITE))
    return Image.alpha_composite(page, foreground).convert("RGB")


def _in_srgb(image: Image.Image, info: dict[str | tuple[int, int], Any]) -> Image.Image:
    """Return an image of L, RGB or RGBA in sRGB, by a file's note of its samples' exponent."""
    if (exponent := info.get(GAMMA_EXPONENT)) is None:
        return image
    curve = [round(255 * (value / 255) ** exponent) for value in range(256)]
    bands = len(image.getbands())
    return image.point(curve * min(bands, 3) + list(range(256)) * (bands == 4))


def _background(grey: Image.Image) -> int:
    """Return the median of the border's pixels, 0 to 255."""
    pixels = np.asarray(grey)  # (H, W)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return int(np.median(border))


def _trim(grey: Image.Image, background: int) -> Image.Image:
    """Return the image without edges that are only background; an empty image stays whole."""
    plain = Image.new("L", grey.size, background)
    difference = ImageChops.difference(grey, plain).point(
        lambda value: 255 * (value > TRIM_TOLERANCE)
    )
    return grey.crop(difference.getbbox())


def _resize_longest_edge(image: Image.Image, side: int, resample: Image.Resampling) -> Image.Image:
    """Return the image with its longest edge resized to side, the other in proportion, >= 1."""
    return image.resize(_fitted(image.size, side), resample)


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    width, height = (max(1, round(edge * scale)) for edge in size)
    return width, height
