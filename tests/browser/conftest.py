"""Debian's Chromium, and a page that may log no errors and call no other server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.browser.shown import SAMPLES
from tests.serving import Server

PERMISSIONS = ["clipboard-read", "clipboard-write"]


# Not for the whole session: Playwright's event loop would run beside that of other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on the PATH: Debian's package has it")
    with sync_playwright() as playwright:
        # Chromium's own sandbox wants rights that a container seldom gives.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=PERMISSIONS)
    yield context
    context.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Errors in the browser's console: a test that expects one removes it from the list."""
    found: list[str] = []
    yield found
    assert not found


@pytest.fixture
def page(context: BrowserContext, server: Server, complaints: list[str]) -> Page:
    """The page at /ui, freshly loaded."""
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))  # policy violations too
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def check_host(request: Request) -> None:
        if urlsplit(request.url.removeprefix("blob:")).netloc != urlsplit(server.url).netloc:
            complaints.append(f"the page asked for {request.url}")

    page.on("request", check_host)
    page.goto(f"{server.url}/ui")
    return page


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A garment on a light background, in a file whose name needs quotes in a shell."""
    with Image.open(SAMPLES / "coat.png") as coat:
        garment = ImageOps.invert(coat.resize((280, 280)))
    page = Image.new("RGB", (400, 340), "white")
    page.paste(garment, (60, 30))
    path = tmp_path / """it's "my"; coat, $HOME `x` é.png"""
    page.save(path)
    return path
