"""What the page shows, read out of the browser."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from tests.serving import ROOT

SAMPLES = ROOT / "service" / "ui" / "samples"

READ_PIXELS = """async (img) => {
  await img.decode();
  const canvas = new OffscreenCanvas(img.naturalWidth, img.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(img, 0, 0);
  const { width, height } = canvas;
  return { width, height, rgba: [...context.getImageData(0, 0, width, height).data] };
}"""


class Shown(NamedTuple):
    """One answer on the page."""

    label: str
    bars: dict[str, float]  # by the classes' names
    pixels: NDArray[np.uint8]  # (28, 28), as "What the model saw" has them
    preparation: str
    command: str


def await_answer(page: Page) -> None:
    """Wait until the page shows the answer to the latest picture, or an error."""
    page.locator('#result[aria-busy="false"]').wait_for(state="attached")


def shown(page: Page) -> Shown:
    """Wait for the answer and read it."""
    await_answer(page)
    expect(page.locator("#error")).to_be_empty()
    expect(page.locator("#details")).to_be_visible()
    return Shown(
        label=page.inner_text("#verdict").rpartition(",")[0].removesuffix(" (unusual)"),
        bars=page.locator("#bars tr").evaluate_all(
            "rows => Object.fromEntries(rows.map(row =>"
            " [row.querySelector('th').textContent, row.querySelector('progress').value]))"
        ),
        pixels=pixels(page, "#seen"),
        preparation=page.inner_text("#preparation"),
        command=page.inner_text("#command"),
    )


def pixels(page: Page, selector: str) -> NDArray[np.uint8]:
    """The pixels of a grey picture on the page, (H, W)."""
    found = page.locator(selector).evaluate(READ_PIXELS)
    rgba = np.array(found["rgba"], np.uint8).reshape(found["height"], found["width"], 4)
    assert (rgba[..., :3] == rgba[..., :1]).all()
    assert (rgba[..., 3] == 255).all()
    return rgba[..., 0]


def choose(page: Page, path: Path) -> None:
    page.get_by_label("Choose a picture").set_input_files(path)
