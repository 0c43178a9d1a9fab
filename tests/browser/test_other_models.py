"""The page of a model that is not Fashion-MNIST's: it shows that model and no other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.shown import await_answer, choose
from tests.service.networks import CROPPED
from tests.service.pictures import save
from tests.serving import Server, serving


@pytest.fixture(scope="module")
def cropping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cropping")
    model = CROPPED.write(folder / "model.onnx")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_MODEL=str(model)) as server:
        yield server


@pytest.fixture
def page_of_a_thousand(context: BrowserContext, cropping: Server) -> Page:
    page = context.new_page()
    page.goto(f"{cropping.url}/ui")
    page.locator("#samples button").first.wait_for()
    return page


def test_title_classes_and_controls_are_the_models(page_of_a_thousand: Page) -> None:
    page = page_of_a_thousand
    assert page.title() == "cropped: try it"
    expect(page.locator("h1")).to_have_text("cropped")
    expect(page.locator("#purpose")).to_contain_text("Which of 1,000 classes is this? cropped 0,")
    expect(page.locator("#purpose")).to_contain_text(
        "and 980 more. The model sees 64 \u00d7 64 pixels."
    )
    expect(page.locator("#canvas")).to_be_hidden()
    expect(page.locator("#mode")).to_be_hidden()
    text = page.inner_text("body").lower()
    assert not any(word in text for word in ("garment", "28", "ten ", "fashion", "trouser"))


def test_a_picture_and_a_sample(page_of_a_thousand: Page, tmp_path: Path) -> None:
    page = page_of_a_thousand
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    (tmp_path / "noise.png").write_bytes(save(Image.fromarray(pixels), "PNG"))
    choose(page, tmp_path / "noise.png")
    await_answer(page)
    expect(page.locator("#verdict")).to_contain_text("cropped ")
    expect(page.locator("#preparation")).to_have_text(
        "Preparation: resized, and cut to its centre."
    )
    expect(page.locator("#bars tr")).to_have_count(20)
    expect(page.locator("#seen-size")).to_have_text("What the model saw: 64 \u00d7 64")
    assert page.locator("#seen").evaluate("img => img.decode().then(() => img.naturalWidth)") == 64
    page.locator("#samples button").first.click()
    await_answer(page)
    expect(page.locator("#error")).to_be_empty()
