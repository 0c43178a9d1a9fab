"""How photographs on backgrounds of any brightness are classified; docs/api.md has the table.

    python -m benchmarks.photographs [--images 600]

A photograph is a test image, 280 x 280, in its true brightness (white fabric is light), on a page.
The last images of the test set are taken; the way to find the background was chosen on training
images. `disturbed` ones have light that changes over the page by 30 of 255, a soft shadow, a colour
cast, noise with a deviation of 4, and are JPEG of quality 60.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.preprocessing.pipeline import read_image
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.signature import PROBABILITIES
from service.settings import ServiceSettings
from service.signature import ImageSpec
from training.data.fashion_mnist import load_split

DATA = Path(__file__).parents[1] / "tests" / "data"
PAGES = (255, 220, 200, 160, 90, 0)
SIDE = 280
FAINT = 8  # of 255: what upscaling leaves around a garment
PIXELS = 32_000_000
FASHION = ImageSpec(1, 28, 28, "fashion-mnist")


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Photographs on backgrounds of any brightness.")
    parser.add_argument("--images", type=int, default=600)
    count = parser.parse_args().images
    model = load_model(ServiceSettings(device="cpu"))
    split = load_split("test", DATA)
    images, labels = split.images[-count:, 0].numpy(), split.labels[-count:].numpy()
    print(f"| page, of 255 | {' | '.join(map(str, PAGES))} |")
    print("|---|" + "---|" * len(PAGES))
    for name, disturbed in (("plain", False), ("disturbed", True)):
        shares = [accuracy(model, images, labels, page, disturbed=disturbed) for page in PAGES]
        print(
            f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |", flush=True
        )


def accuracy(
    model: OnnxModel,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    page: int,
    *,
    disturbed: bool,
) -> float:
    """Return the share of photographs of images (N, 28, 28) that are classified correctly."""
    random = np.random.default_rng(0)
    files = [photograph(image, page, random, disturbed=disturbed) for image in images]
    return float((classes(model, files) == labels).mean())


def classes(model: OnnxModel, files: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the classes (N,) of picture files, as `mode=photo` has them."""
    seen = np.stack(
        [read_image(file, PIXELS, FASHION, "photo") for file in files]
    )  # (N, 1, 28, 28)
    found: NDArray[np.int64] = model.infer(seen, [PROBABILITIES])[0].argmax(axis=1)
    return found


def photograph(
    image: NDArray[np.uint8], page: int, random: np.random.Generator, *, disturbed: bool
) -> bytes:
    """Return a picture file of a garment (28, 28) in its true brightness on a page."""
    upscaled = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    garment = upscaled > FAINT  # (280, 280)
    ground = np.full((SIDE, SIDE), page, np.float32)
    if disturbed:
        ground = _lit(ground, garment, random)
    shown = np.where(garment, 255 - upscaled.astype(np.float32), ground)  # (280, 280)
    colours = np.repeat(shown[..., None], 3, axis=2)  # (280, 280, 3)
    if disturbed:
        colours *= 1 + random.uniform(-0.06, 0.06, 3).astype(np.float32)
        colours += random.normal(0, 4, colours.shape)
    file = BytesIO()
    page_image = Image.fromarray(colours.clip(0, 255).round().astype(np.uint8))
    page_image.save(file, "JPEG" if disturbed else "PNG", quality=60)
    return file.getvalue()


def _lit(
    ground: NDArray[np.float32], garment: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.float32]:
    """Return a ground (H, W) under light from one side, with the garment's soft shadow."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    angle = random.uniform(0, 2 * np.pi)
    lit = ground + 30 * (np.cos(angle) * columns + np.sin(angle) * rows)
    blurred = Image.fromarray(garment).convert("L").filter(ImageFilter.GaussianBlur(8))
    shadow = np.roll(np.asarray(blurred, np.float32) / 255, (8, 6), (0, 1))
    darker: NDArray[np.float32] = lit * (1 - 0.25 * shadow)
    return darker


if __name__ == "__main__":
    main()
