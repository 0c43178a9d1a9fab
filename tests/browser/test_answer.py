"""What the page shows beside the class: curl, times, model, device, and what went wrong."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from service.preprocessing.formats import SERVED
from tests.browser.shown import await_answer, choose, shown
from tests.serving import Server


def run(command: str, folder: Path) -> str:
    """Run a command in a shell as a user would, and return the label in its answer."""
    done = subprocess.run(
        ["sh", "-c", command],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found = re.search(r'"label":"([^"]*)"', done.stdout)
    assert found is not None, done.stdout
    return found[1]


def test_the_curl_command_sends_the_users_file(page: Page, photo: Path) -> None:
    choose(page, photo)
    found = shown(page)
    assert run(found.command, photo.parent) == found.label
    expect(page.locator("#download")).to_be_hidden()


def test_the_curl_command_sends_the_file_that_was_saved(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Sandal").click()
    found = shown(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save sandal.png").click()
    download.value.save_as(tmp_path / "sandal.png")
    assert run(found.command, tmp_path) == found.label == "Sandal"


def test_the_curl_command_is_quoted_whatever_the_name(
    page: Page, photo: Path, tmp_path: Path
) -> None:
    url = page.url.replace("/ui", "/classify?mode=photo")
    for name in (r"back\slash.png", "two\nlines.png", "-", "@x=1;type=a b", "~"):
        (tmp_path / name).write_bytes(photo.read_bytes())
        command = page.evaluate(
            "async ([name, url]) => (await import('./ui/curl.js')).curlCommand(name, url)",
            [name, url],
        )
        assert run(command, tmp_path) == "Coat", name


def test_the_command_can_be_copied(page: Page) -> None:
    page.get_by_role("button", name="Bag").click()
    command = shown(page).command
    page.get_by_role("button", name="Copy command").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_times_model_and_device(page: Page, server: Server) -> None:
    page.get_by_role("button", name="Bag").click()
    shown(page)
    expect(page.locator("#latency")).to_have_text(
        re.compile(
            r"^[\d.]+\sms round trip; [\d.]+\sms in the service "
            r"\(decoding [\d.]+\sms, inference [\d.]+\sms\)$"
        )
    )
    ready = httpx.get(f"{server.url}/readyz").json()
    model = ready["model"]
    expect(page.locator("#model")).to_have_text(f"{model['name']} {model['version']}")
    expect(page.locator("#device")).to_have_text("CPU (CPUExecutionProvider)")


def test_what_the_service_refuses_takes_the_place_of_the_answer(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    page.get_by_role("button", name="Bag").click()
    shown(page)
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    choose(page, notes)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text(f"the image (5 bytes) is not a {SERVED} file (HTTP 400)")
    expect(page.locator("#details")).to_be_hidden()
    expect(page.locator("#verdict")).to_be_empty()
    assert [text for text in complaints if "400 (Bad Request)" not in text] == []
    complaints.clear()
    page.get_by_role("button", name="Bag").click()
    assert shown(page).label == "Bag"
    expect(alert).to_be_empty()


def test_a_service_that_is_away_is_reported(
    page: Page, context: BrowserContext, photo: Path, complaints: list[str]
) -> None:
    context.set_offline(True)
    for give in (
        lambda: choose(page, photo),
        lambda: page.get_by_role("button", name="Bag").click(),
    ):
        give()
        await_answer(page)
        expect(page.get_by_role("alert")).to_contain_text("The service did not answer")
    assert [text for text in complaints if "ERR_INTERNET_DISCONNECTED" not in text] == []
    complaints.clear()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_giving_no_file_is_reported(page: Page, kind: str) -> None:
    event = {"paste": "new ClipboardEvent('paste', {clipboardData: new DataTransfer()})"}.get(
        kind, "new DragEvent('drop', {dataTransfer: new DataTransfer()})"
    )
    page.evaluate(f"document.dispatchEvent({event})")
    expect(page.get_by_role("alert")).to_contain_text("choose")
