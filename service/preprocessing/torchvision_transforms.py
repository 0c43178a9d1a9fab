"""The two pipelines of torchvision that most classifiers are trained with, on Pillow's images.

`resize` is `Resize((H, W))`, `center-crop` is `Resize(side)` and then `CenterCrop((H, W))`; both
with torchvision's default, bilinear interpolation with antialiasing.

Source: torchvision, `transforms/functional.py`: `_compute_resized_output_size`, `center_crop`.
"""

from contextlib import suppress
from math import ceil, floor, sqrt

from PIL import ExifTags, Image

from service.preprocessing.fashion_mnist import GAMMA_EXPONENT, flatten, reduce_in_bands
from service.signature import ImageSpec

DRAFT_FACTOR = 8  # a large JPEG is decoded at no less than so many times its final size
CONVERTED_PIXELS = 2**22  # a picture whose mode is converted is first reduced to this; it is enough
DIRECT = ("L", "RGB")  # modes that are resized without conversion

# Each value of EXIF's Orientation (CIPA DC-008, section 4.6.5) as what makes the picture upright,
# and by whether its rows are columns of the stored image, and the stored x and y run backwards.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPPED, BACKWARD_X, BACKWARD_Y = (5, 6, 7, 8), (2, 3, 7, 8), (3, 4, 6, 7)

DRAFTED_FROM = "fashion_lenet.drafted_from"  # key in an image's info for its size in the file

Size = tuple[int, int]
Box = tuple[float, float, float, float]


def draft_size(spec: ImageSpec) -> Size:
    """Return the least width and height that a JPEG is decoded at."""
    if spec.resize is not None:
        return (DRAFT_FACTOR * spec.resize,) * 2
    side = DRAFT_FACTOR * max(spec.height, spec.width)
    return side, side


def transform(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Return a picture resized, or resized and cropped, to a model's H x W, upright.

    Args:
        image: decoded, of any size, in any of Pillow's modes of 8 bits; its EXIF data says how it
            is turned.
        spec: of the model; its pipeline is `resize` or `center-crop`.

    Returns:
        An image of W x H in grey (C = 1) or RGB (C = 3).
    """
    # The stored image is resized, then the small one is turned: a large one would be copied.
    orientation = _orientation(image)
    size = (spec.width, spec.height)
    if orientation in SWAPPED:
        size = (spec.height, spec.width)
    stored = image.info.get(DRAFTED_FROM, image.size)
    box: Box = (0, 0, *stored)
    if spec.resize is not None:
        box = _cropped(stored, spec.resize, size, orientation)
    reduced = round(stored[0] / image.size[0])  # 2, 4 or 8 if it was drafted
    small = _resized(image, size, _within(box, reduced, image.size))
    small = small.convert("L" if spec.channels == 1 else "RGB")
    return small.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else small


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):  # Pillow's EXIF reader raises all kinds, as its decoders do
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _cropped(stored: Size, side: int, crop: Size, orientation: int) -> Box:
    """Return the part of an image that is left once its shorter side is `side` and it is cropped.

    Args:
        stored: the image's width and height.
        side: its shorter side after resizing.
        crop: width and height of the part in the middle, after resizing.
        orientation: the middle of an odd rest is rounded as in the upright picture.
    """
    short = min(stored)
    box: list[float] = []
    for axis, backward in enumerate((BACKWARD_X, BACKWARD_Y)):
        length = side if stored[axis] == short else int(side * stored[axis] / short)
        rest = length - crop[axis]
        first = round(rest / 2)
        if orientation in backward:
            first = rest - first
        scale = stored[axis] / length
        box += [first * scale, (first + crop[axis]) * scale]
    return box[0], box[2], box[1], box[3]


def _within(box: Box, reduced: int, size: Size) -> Box:
    """Return a box in the pixels of a reduced image, within it in spite of rounding."""
    left, top, right, bottom = (edge / reduced for edge in box)
    return left, top, min(right, size[0]), min(bottom, size[1])


def _resized(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Return the part `box` of an image resized, in a mode without transparency."""
    if image.mode not in DIRECT or image.has_transparency_data or GAMMA_EXPONENT in image.info:
        image, box = _converted(image, size, box)
    return image.resize(size, Image.Resampling.BILINEAR, box)


def _converted(image: Image.Image, size: Size, box: Box) -> tuple[Image.Image, Box]:
    """Return what an image has in and around a box, in grey or RGB, and the box in it."""
    left, top, right, bottom = box
    # The filter reaches one pixel of the result beyond the box.
    reach_x, reach_y = (right - left) / size[0], (bottom - top) / size[1]
    first = max(0, floor(left - reach_x)), max(0, floor(top - reach_y))
    last = min(image.width, ceil(right + reach_x)), min(image.height, ceil(bottom + reach_y))
    width, height = last[0] - first[0], last[1] - first[1]
    most = max(CONVERTED_PIXELS, 4 * size[0] * size[1])
    scale = min(1.0, sqrt(most / (width * height)))
    working = max(1, round(scale * width)), max(1, round(scale * height))
    part = flatten(reduce_in_bands(image, working, part=(*first, *last)))
    scale_x, scale_y = working[0] / width, working[1] / height
    return part, (
        (left - first[0]) * scale_x,
        (top - first[1]) * scale_y,
        min((right - first[0]) * scale_x, working[0]),
        min((bottom - first[1]) * scale_y, working[1]),
    )
