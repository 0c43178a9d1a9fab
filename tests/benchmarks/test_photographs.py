"""The benchmark of photographs: what it makes, and that docs/api.md has what it measures."""

import re
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import photographs
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings
from tests.serving import ROOT
from training.data.fashion_mnist import load_split

SAMPLE = slice(-600, None, 4)  # of the images that docs/api.md's figures are of
FEW = 60


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return load_split("test", photographs.DATA).images[SAMPLE, 0].numpy()  # (150, 28, 28)


@pytest.fixture(scope="module")
def labels() -> NDArray[np.integer]:
    return load_split("test", photographs.DATA).labels[SAMPLE].numpy()  # (150,)


@pytest.mark.parametrize("page", [255, 0])
def test_the_documented_figures_are_its_own(
    page: int, model: OnnxModel, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> None:
    """Within what a quarter of the images can tell."""
    text = (ROOT / "docs" / "api.md").read_text()
    row = re.search(r"^\| plain \| (.*) \|$", text, re.MULTILINE)
    assert row, "docs/api.md has no row for plain pages"
    figures = [float(figure) for figure in row[1].split(" | ")]
    documented = dict(zip(photographs.PAGES, figures, strict=True))
    files = photographs.on_page(images, page, "plain")
    found = 100 * photographs.accuracy(model, files, labels)
    assert found == pytest.approx(documented[page], abs=5)


def test_most_wrong_answers_on_a_texture_are_marked_unusual(
    model: OnnxModel, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> None:
    """Planks of changing brightness, with grain."""
    random = np.random.default_rng(0)
    planks = np.repeat(random.integers(60, 180, 20), 20)[:, None]  # (400, 1)
    grain = np.repeat(random.normal(0, 25, (400, 100)), 4, axis=1)  # (400, 400)
    texture = (planks + grain).clip(0, 255).astype(np.uint8)
    files = photographs.on_texture(images[:FEW], texture)
    correct, unusual = photographs.evaluate(model, files, labels[:FEW])
    assert unusual[~correct].mean() >= 0.8


def test_soft_edges_on_black_are_found(
    model: OnnxModel, images: NDArray[np.uint8], labels: NDArray[np.integer]
) -> None:
    """While the edge counted as garment, four of ten on training images were wrong."""
    files = photographs.on_page(images[:FEW], 0, "soft")
    assert photographs.accuracy(model, files, labels[:FEW]) >= 0.75


def test_textures_need_the_package_that_ships_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["photographs", "--textures"])
    with pytest.raises(SystemExit):
        photographs.main()
    assert "pip install scikit-image" in capsys.readouterr().err
