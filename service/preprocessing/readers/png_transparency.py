"""A PNG's one transparent grey or colour, which Pillow takes for another where it has not 8 bits.

Source: PNG specification, third edition, section 11.3.2.1: the samples are compared in all their
bits.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from service.preprocessing.readers.png_chunks import (
    GREY,
    RGB,
    PngHeader,
    scaled,
    transparent_samples,
)
from service.preprocessing.time_limited_reader import TimeLimitedReader

COLOUR_OF_16_BITS = "fashion_lenet.transparent"  # key in an image's info


def note_transparent_samples(image: Image.Image, header: PngHeader) -> None:
    """Have an opened PNG's `info` say in its own bits what is transparent."""
    samples = transparent_samples(header)
    if samples is None:
        return
    if header.colour_type == GREY and header.depth in (2, 4):
        image.info["transparency"] = scaled(samples[0], header.depth)
    if header.colour_type == RGB and header.depth == 16:
        image.info.pop("transparency", None)
        image.info[COLOUR_OF_16_BITS] = samples


def load_with_transparent_colour(image: Image.Image, content: bytes) -> Image.Image:
    """Return an opened PNG of 16 bits a channel as RGBA; Pillow keeps the higher 8 bits only."""
    colour = image.info[COLOUR_OF_16_BITS]
    low = _lower_bytes(content)
    image.load()
    transparent = np.ones((image.height, image.width), bool)  # (H, W)
    for channel, sample in enumerate(colour):
        for half, byte in ((image, sample >> 8), (low, sample & 255)):
            transparent &= _plane(half, channel) == byte
    image.putalpha(Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8)))
    return image


def _lower_bytes(content: bytes) -> Image.Image:
    image = PngImageFile(TimeLimitedReader(content))
    # A little-endian file's higher byte is a big-endian one's lower.
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
    image.load()
    return image


def _plane(image: Image.Image, channel: int) -> NDArray[np.uint8]:
    return np.asarray(image.getchannel(channel))
