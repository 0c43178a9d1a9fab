"""Swagger's page at `/`: a picture is tried out with a few clicks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page

from tests.serving import Server

SECONDS = 30_000


@pytest.fixture
def documentation(context: BrowserContext, server: Server) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    refused: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(message.text)

    page.on("console", note)
    page.goto(server.url)
    page.wait_for_selector(".opblock")
    yield page
    assert not refused


def test_every_group_and_route_is_shown(documentation: Page) -> None:
    text = documentation.inner_text("#swagger-ui")
    for shown in ("Classification", "Open Inference Protocol v2", "Operation", "Demonstration"):
        assert shown in text
    for path in ("/classify", "/classify_batch", "/predict", "/v2/models/{name}/infer", "/ui"):
        assert documentation.locator(f'.opblock-summary-path[data-path="{path}"]').count() >= 1
    assert documentation.locator(".errors-wrapper").count() == 0


def test_on_a_phone_a_group_has_its_description_below_its_name(documentation: Page) -> None:
    documentation.set_viewport_size({"width": 390, "height": 844})
    for group in documentation.locator(".opblock-tag").all():
        name, description = (group.locator(part).bounding_box() for part in ("a", "small"))
        assert name is not None
        assert description is not None
        assert description["y"] >= name["y"] + name["height"]
        assert description["width"] > 300


@pytest.mark.parametrize("media_type", ["multipart/form-data", "image/png"])
def test_a_picture_is_tried_out(documentation: Page, photo: Path, media_type: str) -> None:
    block = documentation.locator("#operations-Classification-classify")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator(".body-param-content-type select, .content-type").first.select_option(media_type)
    block.locator('tr[data-param-name="mode"] select').select_option("photo")
    block.locator('input[type="file"]').set_input_files(photo)
    with documentation.expect_response("**/classify?*") as answered:
        block.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert "mode=photo" in answered.value.url
    content = answer(block)
    assert content["label"] == "Coat"
    assert content["preprocessing"] == {"mode": "photo", "negated": True, "trimmed": True}


def test_several_pictures_are_tried_out(documentation: Page, photo: Path) -> None:
    block = documentation.locator("#operations-Classification-classify_batch")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    for place in range(2):
        while block.locator('input[type="file"]').count() <= place:
            block.get_by_role("button", name="Add string item").click()
        block.locator('input[type="file"]').nth(place).set_input_files(photo)
    block.get_by_role("button", name="Execute").click()
    assert [one["label"] for one in answer(block)] == ["Coat", "Coat"]


def test_numbers_are_tried_out_as_the_example_has_them(documentation: Page) -> None:
    block = documentation.locator("#operations-Classification-predict")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    assert answer(block)["labels"] == ["Trouser"]


def answer(block: Locator) -> Any:
    """What the page shows that the service answered."""
    found = block.locator(".live-responses-table .highlight-code code").first
    return json.loads(found.inner_text())
