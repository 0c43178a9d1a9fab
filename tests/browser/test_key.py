"""The page of a service with a key: it asks for the key, and stores it where it is not shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.shown import await_answer, choose, shown
from tests.pages import run
from tests.serving import Server, serving

KEY, WRONG = "browser-key-0123456789", "wrong-key-0123456789"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("closed")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_API_KEY=KEY) as server:
        yield server


@pytest.fixture
def locked(context: BrowserContext, closed: Server) -> Page:
    """The page at /ui of a service with a key."""
    page = context.new_page()
    page.goto(f"{closed.url}/ui")
    return page


def give(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_it_asks_for_a_key_and_then_answers_what_was_asked(
    locked: Page, closed: Server, photo: Path
) -> None:
    asked: list[str] = []
    locked.on("request", lambda request: asked.append(request.url))
    expect(locked.get_by_label("API key")).to_be_visible()  # the model is not for everybody
    assert "Coat" not in locked.content()
    choose(locked, photo)
    await_answer(locked)
    expect(locked.locator("#error")).to_have_text("This service asks for an API key.")
    expect(locked.get_by_label("API key")).to_be_focused()
    give(locked, WRONG)
    expect(locked.locator("#error")).to_contain_text("does not know this API key")
    give(locked, KEY)
    expect(locked.locator("#verdict")).to_contain_text("Coat")
    found = shown(locked)
    assert found.label == "Coat"
    expect(locked.get_by_label("API key")).to_have_count(0)
    assert not any(KEY in url or WRONG in url for url in [*asked, locked.url])
    assert KEY not in locked.content() + closed.log()
    printed = run(["sh", "-c", found.command], photo.parent, {"FASHION_API_KEY": KEY})
    assert '"label":"Coat"' in printed


def test_the_key_lasts_as_long_as_the_tab(
    locked: Page, context: BrowserContext, closed: Server
) -> None:
    give(locked, KEY)
    locked.get_by_role("button", name="Bag").click()
    expect(locked.locator("#verdict")).to_contain_text("Bag")
    locked.reload()
    locked.get_by_role("button", name="Coat").click()
    assert shown(locked).label == "Coat"
    another = context.new_page()
    another.goto(f"{closed.url}/ui")
    expect(another.get_by_label("API key")).to_be_visible()


def test_what_can_be_no_key_is_not_sent(locked: Page) -> None:
    for key in ("short", "with spaces in the middle", "schl\u00fcssel-der-keiner-ist"):
        give(locked, key)
        expect(locked.get_by_label("API key")).to_be_visible()
        assert locked.evaluate("sessionStorage.length") == 0
