"""The pipeline that made Fashion-MNIST from a shop's photographs.

Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, https://arxiv.org/abs/1708.07747, section 2: trim edges of the corner's colour,
longest edge to 28, sharpen, centre on 28 x 28, negate, grey. A model with another height or width
gets the same on H x W.
"""

from math import ceil
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

WORKING_FACTOR = 8  # a photograph is first reduced to so many times H or W: the rest is fast
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

    image: Image.Image  # W x H in 8-bit grey, background dark, object light
    negated: bool  # its background was light
    trimmed: bool  # edges of the background's colour were removed


def working_side(width: int, height: int) -> int:
    """Return the longest side that a photograph is reduced to before all else."""
    return WORKING_FACTOR * max(width, height)


def to_fashion_mnist(image: Image.Image, width: int, height: int) -> FashionMnistImage:
    """Return a photograph of one object, converted as in the data set.

    The paper's photographs have a white background, and all are negated. Here the background is
    the border's colour, and the image is negated only if the background is light.

    Args:
        image: decoded and upright, of any size, in any of Pillow's modes of 8 bits.
        width: of the result, in pixels.
        height: of the result, in pixels.
    """
    grey = flatten(downscale(image, working_side(width, height))).convert("L")
    background = _background(grey)
    trimmed = _trim(grey, background)
    small = trimmed.resize(_fitted(trimmed.size, width, height), Image.Resampling.LANCZOS).filter(
        ImageFilter.SHARPEN
    )
    canvas = Image.new("L", (width, height), background)
    canvas.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    light = background > 127
    return FashionMnistImage(
        ImageOps.invert(canvas) if light else canvas, light, trimmed.size != grey.size
    )


def downscale(image: Image.Image, side: int) -> Image.Image:
    """Return a large image with its longest edge reduced to `side`."""
    if max(image.size) <= side:
        return image
    size = _fitted(image.size, side, side)
    if image.mode in CONVERTED:
        return reduce_in_bands(image, size)
    return image.resize(size, Image.Resampling.BOX)


def reduce_in_bands(
    image: Image.Image, size: tuple[int, int], part: tuple[int, int, int, int] | None = None
) -> Image.Image:
    """Return an image, or a part of it, reduced to `size`, in RGB, or RGBA if it is transparent.

    It is converted in bands: all rows at once would take twice the memory.
    """
    mode = "RGBA" if image.has_transparency_data else "RGB"
    reduced = Image.new(mode, size)
    reduced.info = image.info
    left, upper, right, lower = part or (0, 0, image.width, image.height)
    scale = (lower - upper) / reduced.height
    rows = max(1, int(BAND_PIXELS / (scale * (right - left))))  # of the result
    for top in range(0, reduced.height, rows):
        below = min(top + rows, reduced.height)
        start, end = upper + top * scale, min(upper + below * scale, lower)
        band = image.crop((left, int(start), right, ceil(end))).convert(mode)
        box = (0, start - int(start), right - left, end - int(start))
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
    corrected = image.point(curve * min(bands, 3) + list(range(256)) * (bands == 4))
    corrected.info.pop(GAMMA_EXPONENT, None)
    return corrected


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


def _fitted(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return the largest size of the same proportions within width x height, each at least 1."""
    scale = min(width / size[0], height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
