"""The page of a server of several models: its user chooses one."""

from playwright.sync_api import BrowserContext, expect

from tests.browser.shown import SAMPLES, await_answer, choose
from tests.service.many_models import LABELS, OTHER_LABELS
from tests.serving import Server


def test_a_choice_of_models(context: BrowserContext, many_models: Server) -> None:
    page = context.new_page()
    page.goto(f"{many_models.url}/ui")
    expect(page.locator("#model-choice option")).to_have_text(["first", "colour", "second"])
    expect(page.locator("h1")).to_have_text("first")
    choose(page, SAMPLES / "ankle_boot.png")
    await_answer(page)
    expect(page.locator("#verdict")).to_contain_text(LABELS[9])
    page.select_option("#model-choice", "second")
    expect(page.locator("h1")).to_have_text("second")
    expect(page.locator("#verdict")).to_contain_text(OTHER_LABELS[9])
    expect(page.locator("#command")).to_contain_text("/classify?model=second")
    page.select_option("#model-choice", "colour")
    expect(page.locator("#purpose")).to_contain_text("colour 0, colour 1, colour 2")
    expect(page.locator("#canvas")).to_be_hidden()


def test_there_is_no_choice_of_one(context: BrowserContext, server: Server) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/ui")
    page.locator("#samples button").first.wait_for()
    expect(page.locator("#model-choice")).to_be_hidden()
