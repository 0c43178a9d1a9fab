"""Images (N, 28, 28) that differ, a lot or a little, from Fashion-MNIST's training set."""

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.preprocessing.pipeline import read_image
from service.signature import ImageSpec

Images = NDArray[np.uint8]  # (N, 28, 28)

SIDE = 28
FASHION = ImageSpec(1, SIDE, SIDE, "fashion-mnist")
PIXELS = 32_000_000  # the service's own limit


def kinds(test: Images) -> Mapping[str, Images]:
    """Make each kind, by its name: of the test images, or of as many of its own."""
    random = np.random.default_rng(0)
    return {
        "test images": test,
        "negated": 255 - test,
        "uniform noise": random.integers(0, 256, test.shape).astype(np.uint8),
        "Gaussian noise, mean 128, deviation 40": _gaussian(test, random, 40),
        "Gaussian noise, mean 128, deviation 10": _gaussian(test, random, 10),
        "blank: each of the 256 shades": np.stack(
            [np.full((28, 28), v, np.uint8) for v in range(256)]
        ),
        "digits, filling the picture": digits(SIDE),
        "digits, 20 x 20 in the middle": digits(20),
        **{name: change(test) for name, change in CHANGES.items()},
        "turned by 90 degrees": np.rot90(test, axes=(1, 2)),
        "photographs on white, `mode=photo`": _photographs(test[:1000]),
    }


def digits(side: int) -> Images:
    """Enlarge scikit-learn's 1,797 handwritten digits, 8 x 8, light on dark, and centre them.

    Args:
        side: how many pixels large they become.
    """
    from sklearn.datasets import load_digits  # takes two seconds to import

    margin = (SIDE - side) // 2
    found = []
    for digit in load_digits().images:  # 0 to 16
        small = Image.fromarray((digit * 255 / 16).astype(np.uint8))
        large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
        found.append(np.pad(large, margin))
    return np.stack(found)


def brighter(images: Images) -> Images:
    """Brighten by 20 %."""
    return np.minimum(images * 1.2, 255).astype(np.uint8)


def shifted_right(images: Images) -> Images:
    """Shift by 4 pixels; pixels beyond the edge are lost."""
    return np.pad(images, ((0, 0), (0, 0), (4, 0)))[:, :, :SIDE]


def shifted_down(images: Images) -> Images:
    """Shift by 4 pixels; pixels beyond the edge are lost."""
    return np.pad(images, ((0, 0), (4, 0), (0, 0)))[:, :SIDE]


def blurred(images: Images) -> Images:
    """Blur with a Gaussian of one pixel's deviation."""
    blur = ImageFilter.GaussianBlur(1)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in images])


CHANGES: Mapping[str, Callable[[Images], Images]] = {
    "brighter by 20 %": brighter,
    "shifted right by 4 pixels": shifted_right,
    "shifted down by 4 pixels": shifted_down,
    "blurred, deviation 1 pixel": blurred,
}


def _gaussian(like: Images, random: np.random.Generator, deviation: float) -> Images:
    return np.clip(random.normal(128, deviation, like.shape), 0, 255).astype(np.uint8)


def _photographs(images: Images) -> Images:
    """Enlarge ten times, as a shop shows it, dark on white, and prepare as the service does."""
    found = []
    for image in images:
        file = BytesIO()
        page = Image.fromarray(255 - image).resize((280, 280), Image.Resampling.BICUBIC)
        page.save(file, "PNG")
        found.append(read_image(file.getvalue(), PIXELS, FASHION, "photo")[0])
    return np.stack(found)
