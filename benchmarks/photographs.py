"""How photographs on backgrounds of any brightness are classified; docs/api.md has the table.

    python -m benchmarks.photographs [--images 600] [--textures]

A photograph is a test image, 280 x 280, in its true brightness (white fabric is light), on a page.
The last images of the test set are taken; the way to find the background was chosen on training
images. `disturbed` ones have light that changes over the page by 30 of 255, a soft shadow, a colour
cast, noise with a deviation of 4, and are JPEG of quality 60. The edges of `soft` ones are ten
pixels wide.

`--textures` has the garments on wood, stone, grass and fur instead, from photographs that
scikit-image ships (`pip install scikit-image`), and says how many are marked unusual;
docs/watchman.md has the table.
"""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Literal

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
TEXTURES = {  # of scikit-image's files
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "wood, with a cup": "coffee.png",
    "fur, with a cat's face": "chelsea.png",
}

Kind = Literal["plain", "disturbed", "soft"]
Images = NDArray[np.uint8]  # (N, 28, 28)
Labels = NDArray[np.integer]  # (N,)


def main() -> None:
    """Print a table as Markdown."""
    parser = argparse.ArgumentParser(description="Photographs on backgrounds of any brightness.")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--textures", action="store_true", help="on textures that are not plain")
    arguments = parser.parse_args()
    if arguments.textures and not find_spec("skimage"):
        parser.error("--textures needs scikit-image's photographs: pip install scikit-image")
    model = load_model(ServiceSettings(device="cpu"))
    split = load_split("test", DATA)
    count = arguments.images
    images, labels = split.images[-count:, 0].numpy(), split.labels[-count:].numpy()
    table = print_textures if arguments.textures else print_pages
    table(model, images, labels)


def print_pages(model: OnnxModel, images: Images, labels: Labels) -> None:
    """Print the accuracy on photographs of each kind, by page."""
    print(f"| background, of 255 | {' | '.join(map(str, PAGES))} |")
    print("|---|" + "---|" * len(PAGES))
    kinds: tuple[Kind, ...] = ("plain", "disturbed", "soft")
    for kind in kinds:
        shares = [accuracy(model, on_page(images, page, kind), labels) for page in PAGES]
        print(
            f"| {kind} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |", flush=True
        )


def print_textures(model: OnnxModel, images: Images, labels: Labels) -> None:
    """Print the accuracy by texture, and the shares of correct and wrong ones marked unusual."""
    print("| background | correct | correct, marked unusual | wrong, marked unusual |")
    print("|---|---:|---:|---:|")
    found = {}
    for name, texture in textures().items():
        found[name] = evaluate(model, on_texture(images, texture), labels)
        print_shares(name, *found[name])
    print_shares("all of these", *np.concatenate(list(found.values()), axis=1))
    kinds: tuple[Kind, ...] = ("plain", "disturbed")
    for kind in kinds:
        pages = [evaluate(model, on_page(images, page, kind), labels) for page in PAGES]
        print_shares(f"{kind} pages", *np.concatenate(pages, axis=1))


def print_shares(name: str, correct: NDArray[np.bool_], unusual: NDArray[np.bool_]) -> None:
    """Print a row of the table of textures, of N photographs (N,)."""
    shares = (correct.mean(), unusual[correct].mean(), unusual[~correct].mean())
    print(f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |", flush=True)


def textures() -> dict[str, NDArray[np.uint8]]:
    """Return scikit-image's photographs (H, W) of textures, in grey, by their names."""
    skimage = find_spec("skimage")
    if skimage is None or skimage.origin is None:
        raise ModuleNotFoundError("expected scikit-image's photographs: pip install scikit-image")
    folder = Path(skimage.origin).parent / "data"
    return {
        name: np.asarray(Image.open(folder / file).convert("L")) for name, file in TEXTURES.items()
    }


def on_texture(images: Images, texture: NDArray[np.uint8]) -> list[bytes]:
    """Return N picture files, each on a part of a texture (H, W) of at least 280 x 280."""
    random = np.random.default_rng(0)
    files = []
    for image in images:
        top, left = (random.integers(0, side - SIDE + 1) for side in texture.shape)
        part = texture[top : top + SIDE, left : left + SIDE]  # (280, 280)
        files.append(photograph(image, part, random))
    return files


def on_page(images: Images, page: int, kind: Kind) -> list[bytes]:
    """Return N picture files, each on a page of one brightness, 0 to 255."""
    random = np.random.default_rng(0)
    return [photograph(image, page, random, kind) for image in images]


def accuracy(model: OnnxModel, files: Sequence[bytes], labels: Labels) -> float:
    """Return the share of N picture files that are classified correctly."""
    return float(evaluate(model, files, labels)[0].mean())


def evaluate(
    model: OnnxModel, files: Sequence[bytes], labels: Labels
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of N picture files are classified correctly, and which are unusual, (N,)."""
    if model.input_statistics is None:
        raise ValueError("expected a model with input statistics")
    seen = np.stack(
        [read_image(file, PIXELS, FASHION, "photo") for file in files]
    )  # (N, 1, 28, 28)
    classes = model.infer(seen, [PROBABILITIES])[0].argmax(axis=1)  # (N,)
    return classes == labels, model.input_statistics.mahalanobis_distances(seen) > 1


def photograph(
    image: NDArray[np.uint8],
    page: int | NDArray[np.uint8],
    random: np.random.Generator,
    kind: Kind = "plain",
) -> bytes:
    """Return a picture file of a garment in its true brightness on a page.

    Args:
        image: the garment, (28, 28).
        page: its brightness, or a picture of it, (280, 280); a number if kind is "soft".
        random: for the disturbances.
        kind: as in the table.
    """
    upscaled = _upscaled(image)
    garment = upscaled > FAINT  # (280, 280)
    ground = np.broadcast_to(np.asarray(page, np.float32), (SIDE, SIDE))
    if kind == "disturbed":
        ground = _lit(ground, garment, random)
    shown = np.where(garment, 255 - upscaled.astype(np.float32), ground)  # (280, 280)
    if kind == "soft":  # upscaled with its page, so that the edge is a pixel of 28 wide
        shown = _upscaled(np.where(image, 255 - image, page).astype(np.uint8)).astype(np.float32)
    colours = np.repeat(shown[..., None], 3, axis=2)  # (280, 280, 3)
    if kind == "disturbed":
        colours *= 1 + random.uniform(-0.06, 0.06, 3).astype(np.float32)
        colours += random.normal(0, 4, colours.shape)
    file = BytesIO()
    page_image = Image.fromarray(colours.clip(0, 255).round().astype(np.uint8))
    page_image.save(file, "JPEG" if kind == "disturbed" else "PNG", quality=60)
    return file.getvalue()


def _upscaled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (28, 28) enlarged to (280, 280)."""
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


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
