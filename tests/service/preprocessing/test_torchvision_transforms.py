"""`resize` and `center-crop` against torchvision's own transforms."""

from functools import lru_cache
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.preprocessing.pipeline import PLAIN, open_image, preprocess, read_image
from service.signature import ImageSpec
from tests.service.pictures import save, turned

LIMIT = 64_000_000
CROP = ImageSpec(3, 224, 224, "center-crop", 256)
SMALL_CROP = ImageSpec(3, 64, 48, "center-crop", 72)
GREY_CROP = ImageSpec(1, 40, 40, "center-crop", 40)
OBLONG = ImageSpec(3, 20, 30, "resize")
GREY = ImageSpec(1, 32, 32, "resize")
SPECS = (CROP, SMALL_CROP, GREY_CROP, OBLONG, GREY)

# Landscape, portrait, square, odd, smaller than the model's image, and long.
SIZES = ((500, 375), (333, 480), (300, 300), (257, 301), (50, 41), (17, 9), (900, 60))


@lru_cache(maxsize=2)  # the tests of one size follow each other
def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with smooth shades, edges and noise, like a photograph."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = random.uniform(0.01, 0.2, (3, 2))
    smooth = [128 + 100 * np.sin(a * x + b * y) for a, b in waves]  # (H, W) each
    pixels = np.stack(smooth, axis=2) + random.normal(0, 8, (height, width, 3))  # (H, W, 3)
    edge = random.integers(0, max(1, min(width, height) // 2), 2)
    pixels[edge[0] :, edge[1] : edge[1] + width // 3] *= 0.4
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def torchvisions(image: Image.Image, spec: ImageSpec) -> NDArray[np.uint8]:
    """What torchvision's antialiased bilinear gives for a tensor (C, H, W)."""
    # Here, since it imports torch's compiler: not wherever tests are collected.
    from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

    tensor = pil_to_tensor(image.convert("L" if spec.channels == 1 else "RGB"))
    size = [spec.height, spec.width] if spec.resize is None else [spec.resize]
    resized = resize(tensor, size, antialias=True)
    found: NDArray[np.uint8] = center_crop(resized, [spec.height, spec.width]).numpy()
    return found


def agrees(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Within one level on 99 % of the pixels."""
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    share = (difference <= 1).mean()
    print(f"within one level: {share:.2%}, at most {difference.max()}")
    assert share >= 0.99


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.pipeline} {spec}")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_agrees_with_torchvision(spec: ImageSpec, size: tuple[int, int]) -> None:
    image = scene(*size)
    seen = preprocess(open_image(save(image, "PNG"), LIMIT), spec)
    agrees(seen.pixels, torchvisions(image, spec))
    assert seen.preprocessing == PLAIN[spec.pipeline]
    assert seen.preprocessing["mode"] == spec.pipeline
    assert seen.pixels.flags.c_contiguous


@pytest.mark.parametrize("spec", [CROP, OBLONG], ids=lambda spec: spec.pipeline)
@pytest.mark.parametrize("size", [(3000, 2251), (5000, 4001)], ids=str)
def test_a_large_jpeg_that_is_decoded_smaller_agrees_too(
    spec: ImageSpec, size: tuple[int, int]
) -> None:
    content = save(scene(*size), "JPEG", quality=90)
    whole = Image.open(BytesIO(content)).convert("RGB")
    agrees(read_image(content, LIMIT, spec), torchvisions(whole, spec))


@pytest.mark.parametrize("spec", [SMALL_CROP, OBLONG], ids=lambda spec: spec.pipeline)
@pytest.mark.parametrize("size", [(2300, 1901), (151, 120)], ids=str)
@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "1"])
def test_every_colour_mode_agrees(spec: ImageSpec, size: tuple[int, int], mode: str) -> None:
    image = scene(*size).convert(mode)
    content = save(image, "TIFF" if mode == "CMYK" else "PNG")
    expected = torchvisions(Image.open(BytesIO(content)).convert("RGB"), spec)
    agrees(read_image(content, LIMIT, spec), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(301, 212), (212, 301)], ids=str)
def test_a_turned_photograph_is_cropped_as_the_upright_one(
    orientation: int, size: tuple[int, int]
) -> None:
    content = turned(scene(*size), orientation, "PNG")
    upright = ImageOps.exif_transpose(Image.open(BytesIO(content)))
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(scene(*size)))
    for spec in (SMALL_CROP, OBLONG):
        agrees(read_image(content, LIMIT, spec), torchvisions(upright, spec))


def test_a_picture_of_the_models_size_is_left_as_it_is() -> None:
    image = scene(30, 20)
    expected = np.asarray(image).transpose(2, 0, 1)  # (3, 20, 30)
    np.testing.assert_array_equal(read_image(save(image, "PNG"), LIMIT, OBLONG), expected)
    grey = scene(32, 32).convert("L")
    found = read_image(save(grey, "PNG"), LIMIT, GREY)  # by the fast path for a plain PNG
    np.testing.assert_array_equal(found, np.asarray(grey)[None])


def test_a_strip_is_cropped_before_it_is_enlarged() -> None:
    """Enlarged first, 65,000 x 1 pixels would be 17 million x 256."""
    strip = Image.new("RGB", (65_000, 1), (10, 20, 30))
    found = read_image(save(strip, "PNG"), LIMIT, CROP)
    assert {tuple(pixel) for pixel in found.reshape(3, -1).T} == {(10, 20, 30)}
