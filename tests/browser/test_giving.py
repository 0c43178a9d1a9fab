"""Every way to give the page a picture, with the answer compared with the service's own."""

import base64
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Page, Route, expect

from service.preprocessing.pipeline import Mode
from tests.browser.shown import SAMPLES, await_answer, choose, shown
from tests.service.pictures import preprocess
from tests.serving import Server

FILE = """([name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt());
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  return data;
}"""

COPY = """async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt());
  const blob = new Blob([bytes], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""


def check(page: Page, server: Server, path: Path, mode: Mode = "auto") -> None:
    """The page shows what the service answers, and the pixels that the network gets."""
    found = shown(page)
    answer = httpx.post(
        f"{server.url}/classify",
        params={"mode": mode},
        files={"image": (path.name, path.read_bytes())},
    ).json()
    assert found.label == answer["label"]
    assert found.bars == pytest.approx(answer["probabilities"], abs=1e-6)
    with Image.open(path) as image:
        np.testing.assert_array_equal(found.pixels, preprocess(image, mode).pixels)


def test_the_samples_by_keyboard(page: Page, server: Server) -> None:
    samples = {path.stem.replace("_", " ").capitalize(): path for path in SAMPLES.glob("*.png")}
    samples["T-shirt/top"] = samples.pop("T-shirt")
    assert len(samples) == 10
    for label, path in samples.items():
        page.get_by_role("button", name=label, exact=True).press("Enter")
        check(page, server, path)
        found = shown(page)
        assert found.label == label
        assert found.preparation == "Preparation: raw, nothing negated or trimmed."
        with Image.open(path) as image:
            np.testing.assert_array_equal(found.pixels, np.asarray(image))


def test_a_chosen_file(page: Page, server: Server, photo: Path) -> None:
    choose(page, photo)
    check(page, server, photo)
    assert shown(page).preparation == (
        "Preparation: photo, edges trimmed, negated, its background removed."
    )


def test_a_picture_that_is_unusual(page: Page, tmp_path: Path) -> None:
    with Image.open(SAMPLES / "pullover.png") as image:
        ImageOps.invert(image.convert("L")).save(tmp_path / "negated.png")
    choose(page, tmp_path / "negated.png")
    shown(page)
    expect(page.locator("#verdict")).to_contain_text(" (unusual), ")
    expect(page.locator("#unusual")).to_have_text(
        re.compile(r"^Unusual for this model \(shift [\d.]+\): looks negated: light background\?$")
    )
    choose(page, SAMPLES / "pullover.png")
    shown(page)
    expect(page.locator("#unusual")).to_be_empty()


def test_a_dropped_file(page: Page, server: Server, photo: Path) -> None:
    content = base64.b64encode(photo.read_bytes()).decode()
    data = page.evaluate_handle(FILE, [photo.name, "image/png", content])
    page.dispatch_event("footer", "drop", {"dataTransfer": data})
    check(page, server, photo)


def test_a_pasted_picture(page: Page, server: Server, photo: Path) -> None:
    page.evaluate(COPY, base64.b64encode(photo.read_bytes()).decode())
    page.keyboard.press("Control+V")
    check(page, server, photo)


def test_a_drawing(page: Page, server: Server, tmp_path: Path) -> None:
    box = page.locator("#canvas").bounding_box()
    assert box is not None

    def stroke(*points: tuple[float, float]) -> None:
        for index, (x, y) in enumerate(points):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
            if index == 0:
                page.mouse.down()
        page.mouse.up()

    stroke((0.4, 0.9), (0.42, 0.1), (0.58, 0.1), (0.6, 0.9))
    page.get_by_role("button", name="Clear").click()
    page.locator("#pen").fill("40")
    stroke((0.35, 0.9), (0.42, 0.15), (0.58, 0.15), (0.65, 0.9))
    await_answer(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save drawing.png").click()
    path = tmp_path / "drawing.png"
    download.value.save_as(path)
    check(page, server, path)
    assert shown(page).label == "Trouser"
    with Image.open(path) as drawing:
        drawn = np.asarray(drawing.convert("L"))  # (280, 280)
    assert drawn.shape == (280, 280)
    assert drawn[252, 98] < 50  # where the pointer was: the leg's foot at (0.35, 0.9)
    assert drawn[252, 140] == 255


def test_another_mode_classifies_the_picture_again(page: Page, server: Server, photo: Path) -> None:
    choose(page, photo)
    shown(page)
    for mode in ("raw", "photo"):
        page.get_by_label("Preparation").select_option(mode)
        check(page, server, photo, mode)
        assert f"?mode={mode}" in shown(page).command


def test_a_late_answer_does_not_take_the_place_of_a_newer_one(page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/classify", hold_the_first)
    with page.expect_request("**/classify"):
        page.get_by_role("button", name="Sandal").click()
    page.get_by_role("button", name="Trouser").click()
    assert shown(page).label == "Trouser"
    held[0].continue_()
    for _ in range(10):  # more requests than a late answer would lead to
        page.evaluate("fetch('./readyz').then((answer) => answer.text())")
    assert shown(page).label == "Trouser"
