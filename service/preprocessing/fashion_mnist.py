"""The pipeline that made Fashion-MNIST from a shop's photographs.

Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, https://arxiv.org/abs/1708.07747, section 2: trim edges of the corner's colour,
longest edge to 28, sharpen, centre on 28 x 28, negate, grey. A model with another height or width
gets the same on H x W.
"""

from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from service.preprocessing.background import TOLERANCE, find_background

WORKING_FACTOR = 8  # a photograph is first reduced to so many times H or W: the rest is fast
NEARLY = 2  # times that side, as JPEGs are decoded at: reducing them first would save nothing
BAND_PIXELS = 2**20  # pixels of an image that are converted at a time

# Bilevel pixels and palette indices cannot be averaged, and transparency affects the average. An
# image of these modes is converted before it is reduced.
CONVERTED = ("1", "P", "PA", "LA", "RGBA")

SEARCH_FACTOR = 3  # the background is found on an image of this many times the result's size
SMALL = 0.6  # of the image's side: a smaller garment is looked at again, from nearer
WHITE = (255, 255, 255)
BACKGROUND = (
    "fashion_lenet.background"  # key in an image's info for its own background, if it has one
)
GAMMA_EXPONENT = "fashion_lenet.gamma_exponent"  # key for the power that brings it to sRGB

Box = tuple[int, int, int, int]  # left, top, right, below


class FashionMnistImage(NamedTuple):
    """A photograph converted as in the data set."""

    image: Image.Image  # W x H in 8-bit grey, background dark, object light
    negated: bool  # always, as photographs are
    trimmed: bool  # edges of the background's colour were removed


def working_side(width: int, height: int) -> int:
    """Return the longest side that a photograph is reduced to before all else."""
    return WORKING_FACTOR * max(width, height)


def to_fashion_mnist(image: Image.Image, width: int, height: int) -> FashionMnistImage:
    """Return a photograph of one object, converted as in the data set.

    The paper's photographs have a white background, and all are negated. Here the background is
    found, by the image's own alpha where it has one, else by `service.preprocessing.background`; it
    becomes 0, and what is before it is negated, whatever the background's brightness.

    Args:
        image: decoded and upright, of any size, in any of Pillow's modes of 8 bits.
        width: of the result, in pixels.
        height: of the result, in pixels.
    """
    reduced = downscale(image, working_side(width, height))
    transparent = _transparent(reduced)
    if transparent is None:
        side = SEARCH_FACTOR * max(width, height)
        garment, trimmed = _before_background(flatten(reduced).convert("L"), side)
    else:  # on white, whatever page a PNG names
        reduced.info.pop(BACKGROUND, None)
        garment = ImageOps.invert(flatten(reduced).convert("L"))
        garment.paste(0, mask=Image.fromarray(transparent))
        garment = garment.crop(_box(transparent))
        trimmed = garment.size != reduced.size
    small = garment.resize(_fitted(garment.size, width, height), Image.Resampling.LANCZOS).filter(
        ImageFilter.SHARPEN
    )
    canvas = Image.new("L", (width, height), 0)
    canvas.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return FashionMnistImage(canvas, True, trimmed)


def _before_background(grey: Image.Image, side: int) -> tuple[Image.Image, bool]:
    """Return a garment's box, the garment negated, before 0; and whether any edges were cut off.

    The background is found on an image of `side`. A garment that is small within it is cut out and
    reduced again, to lose less of it.
    """
    small = _reduced(grey, side)
    background = find_background(small)
    left, top, right, below = box = _box(background.mask)
    trimmed = box != (0, 0, *small.size)
    if max(right - left, below - top) < SMALL * max(small.size):
        margin = max(1, (right - left + below - top) // 10)
        near = (left - margin, top - margin, right + margin, below + margin)
        near = _within(near, max(grey.size) / max(small.size), grey.size)
        background = find_background(_reduced(grey.crop(near), side))
        box = _box(background.mask)
    return Image.fromarray(background.negated()).crop(box), trimmed


def _reduced(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    return image.resize(_fitted(image.size, side, side), Image.Resampling.BOX)


def _box(background: NDArray[np.bool_]) -> Box:
    """Return the box of what is not background; of an image that is nothing else, all of it."""
    box = Image.fromarray(~background).getbbox()
    return box or (0, 0, background.shape[1], background.shape[0])


def _within(box: Box, scale: float, size: tuple[int, int]) -> Box:
    """Return a box enlarged by a scale, within an image of a size."""
    left, top, right, below = (round(edge * scale) for edge in box)
    return max(left, 0), max(top, 0), min(right, size[0]), min(below, size[1])


def _transparent(image: Image.Image) -> NDArray[np.bool_] | None:
    """Return where an image is transparent (H, W); None if it is nowhere."""
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))  # (H, W)
    return None if alpha.min() > 127 else alpha <= TOLERANCE


def downscale(image: Image.Image, side: int) -> Image.Image:
    """Return a large image with its longest edge reduced to `side`."""
    if max(image.size) <= NEARLY * side:
        return image
    size = _fitted(image.size, side, side)
    if image.mode in CONVERTED:
        return reduce_in_bands(image, size)
    if image.mode == "RGB" and not (image.has_transparency_data or GAMMA_EXPONENT in image.info):
        return reduce_in_bands(image, size, "L")  # grey, which takes a third of the time
    return image.resize(size, Image.Resampling.BOX)


def reduce_in_bands(
    image: Image.Image,
    size: tuple[int, int],
    mode: str | None = None,
    part: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """Return an image, or a part of it, reduced to `size`, in RGB, or RGBA if it is transparent.

    It is converted in bands: all rows at once would take twice the memory.
    """
    mode = mode or ("RGBA" if image.has_transparency_data else "RGB")
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


def _fitted(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return the largest size of the same proportions within width x height, each at least 1."""
    scale = min(width / size[0], height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
