"""The pipeline of the data set's paper, compared with the data set itself."""

import io
import re

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.preprocessing.fashion_mnist import to_fashion_mnist
from tests.service.pictures import DISTURBANCES, photograph, read_image
from tests.serving import ROOT

PHOTOGRAPHS = 1000
PAGE = ROOT / "docs" / "api.md"
KINDS = {
    "upscaled, on white": (),
    **{f"and {disturbance}": (disturbance,) for disturbance in DISTURBANCES},
    "all of these": DISTURBANCES,
}
LIMIT = 32_000_000


def predicted(session: ort.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes (N,) of images (N, 28, 28)."""
    probabilities = session.run(["probabilities"], {"image": images[:, None]})[0]  # (N, 10)
    classes: NDArray[np.int64] = probabilities.argmax(axis=1)
    return classes


def accuracy(
    session: ort.InferenceSession, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> float:
    """Of images (N, 28, 28) whose classes are the first N labels, in per cent."""
    return 100 * float((predicted(session, images) == labels[: len(images)]).mean())


def documented(kind: str) -> list[float]:
    """The figures that docs/api.md has for a kind of photograph."""
    found = re.search(rf"^\| {re.escape(kind)} \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert found, f"docs/api.md has no row for {kind}"
    return [float(figure) for figure in found.groups()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_photograph_is_classified_almost_as_well_as_the_original(
    kind: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    session: ort.InferenceSession,
) -> None:
    """On 1,000 images; docs/api.md has the figures."""
    random = np.random.default_rng(0)
    disturbances = KINDS[kind]
    files = [photograph(image, random, disturbances=disturbances) for image in images[:PHOTOGRAPHS]]
    auto = np.stack([read_image(file, LIMIT) for file in files])  # (N, 28, 28)
    raw = np.stack([read_image(file, LIMIT, "raw") for file in files])  # (N, 28, 28)
    original, *found = (
        accuracy(session, seen, labels) for seen in (images[:PHOTOGRAPHS], auto, raw)
    )
    print(f"originals {original:.1f}; | {kind} | {found[0]:.1f} | {found[1]:.1f} |")
    assert found[0] >= original - 3
    assert documented(kind) == pytest.approx(found, abs=1.5)


def a_garment(size: tuple[int, int], box: tuple[int, int, int, int], page: int) -> Image.Image:
    """A grey rectangle on a page; box is left, top, right, bottom."""
    image = Image.new("L", size, page)
    image.paste(128, box)
    return image


@pytest.mark.parametrize(
    ("size", "box", "rows", "columns"),
    [
        ((100, 100), (10, 20, 66, 48), (7, 21), (0, 28)),  # twice as wide as high
        ((400, 90), (350, 10, 378, 66), (0, 28), (7, 21)),  # twice as high as wide
        ((900, 1200), (0, 0, 560, 560), (0, 28), (0, 28)),  # into a corner
        ((30, 30), (10, 10, 14, 14), (0, 28), (0, 28)),  # smaller than 28 pixels
    ],
)
@pytest.mark.parametrize("page", [255, 0])
def test_the_garment_fills_the_longest_edge_and_is_centred(
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
    page: int,
) -> None:
    found = np.asarray(to_fashion_mnist(a_garment(size, box, page), 28, 28).image) > 60
    there = np.zeros((28, 28), bool)
    there[slice(*rows), slice(*columns)] = True
    inner = np.zeros((28, 28), bool)
    inner[rows[0] + 1 : rows[1] - 1, columns[0] + 1 : columns[1] - 1] = True
    outer = np.zeros((28, 28), bool)
    outer[max(rows[0] - 1, 0) : rows[1] + 1, max(columns[0] - 1, 0) : columns[1] + 1] = True
    assert found[inner].all()
    assert not found[~outer].any()
    assert found.sum() == pytest.approx(there.sum(), rel=0.15)


@pytest.mark.parametrize("page", [255, 250, 0, 5])
def test_the_background_is_dark(page: int) -> None:
    found = np.asarray(
        to_fashion_mnist(a_garment((300, 200), (100, 20, 140, 180), page), 28, 28).image
    )
    assert found[:, :6].max() <= 5
    assert int(found[14, 14]) == pytest.approx(127, abs=8)  # Lanczos rings


def test_a_little_noise_is_cut_away_with_the_page() -> None:
    """The paper's 5 %: what a JPEG makes of white is still white."""
    clean = a_garment((200, 200), (80, 80, 120, 120), 255)
    noise = np.random.default_rng(0).integers(0, 12, (200, 200))
    noisy = np.asarray(clean).astype(int) - noise
    noisy[80:120, 80:120] = 128
    found = np.asarray(to_fashion_mnist(Image.fromarray(noisy.astype(np.uint8)), 28, 28).image)
    assert (found > 100).mean() > 0.95


@pytest.mark.parametrize("value", [0, 7, 128, 255])
def test_an_empty_page_is_background(value: int) -> None:
    found = np.asarray(to_fashion_mnist(Image.new("L", (50, 90), value), 28, 28).image)
    assert found.shape == (28, 28)
    assert found.max() == found.min() <= 127


def test_a_palette_is_averaged_by_its_colours_not_by_its_numbers() -> None:
    """A large GIF of grey stripes, whose numbers in the palette have no order."""
    stripes = np.where(np.arange(600) % 2, 40, 200).astype(np.uint8)
    image = Image.new("L", (1200, 1200), 255)
    image.paste(Image.fromarray(np.tile(stripes, (600, 1))), (300, 300))
    file = io.BytesIO()
    image.save(file, "GIF")
    found = np.asarray(to_fashion_mnist(Image.open(file), 28, 28).image).astype(int)
    exact = np.asarray(to_fashion_mnist(image, 28, 28).image).astype(int)
    assert np.abs(found - exact).max() <= 2
    assert found[4:24, 4:24] == pytest.approx(255 - 120, abs=8)  # reduced twice


def test_the_callers_picture_is_left_as_it_was() -> None:
    for mode in ("RGB", "L", "P", "RGBA"):
        image = a_garment((700, 500), (100, 100, 300, 200), 255).convert(mode)
        before = image.copy()
        to_fashion_mnist(image, 28, 28)
        assert (image.mode, image.size, image.tobytes()) == (mode, before.size, before.tobytes())


@pytest.mark.parametrize("page", [0, 60, 127, 128, 200, 255])
def test_a_garment_is_negated_whatever_its_background(page: int) -> None:
    image = Image.new("L", (60, 60), page)
    image.paste(20 if page > 100 else 240, (20, 20, 40, 40))
    found = to_fashion_mnist(image, 28, 28)
    assert found.negated
    assert np.asarray(found.image)[14, 14] == 255 - (20 if page > 100 else 240)


def test_what_has_the_backgrounds_brightness_within_a_garment_stays() -> None:
    image = Image.new("L", (60, 60), 160)
    image.paste(40, (10, 10, 50, 50))
    image.paste(160, (20, 20, 40, 40))
    found = np.asarray(to_fashion_mnist(image, 28, 28).image)
    assert found[14, 14] == 255 - 160


def test_an_alpha_channel_is_the_garments_outline() -> None:
    """White on white, which only alpha can show."""
    image = Image.new("RGBA", (60, 60), (90, 90, 90, 0))
    image.paste((230, 230, 230, 255), (10, 20, 50, 40))
    found = np.asarray(to_fashion_mnist(image, 28, 28).image)
    assert found[8:20].min() == 25
    assert found[:6].max() == 0


@pytest.mark.parametrize(("difference", "trimmed"), [(13, False), (14, True), (-14, True)])
def test_a_twentieth_of_white_is_no_garment(difference: int, trimmed: bool) -> None:
    page = Image.new("L", (60, 60), 100)
    page.paste(100 + difference, (20, 20, 40, 40))
    assert to_fashion_mnist(page, 28, 28).trimmed == trimmed
