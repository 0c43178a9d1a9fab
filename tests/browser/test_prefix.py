"""Behind a proxy that strips a prefix, both pages use it in their requests."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.shown import SAMPLES, shown
from tests.serving import Server

PREFIX = "/garments"
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "date", "server")


@pytest.fixture
def prefixed(server: Server) -> Iterator[str]:
    """The address of the service behind a proxy; anything without the prefix is 404."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            answer = httpx.request(
                self.command,
                server.url + self.path.removeprefix(PREFIX),
                headers=dict(self.headers),
                content=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
        proxy.shutdown()
        thread.join()


@pytest.fixture
def beyond(context: BrowserContext, prefixed: str) -> Iterator[Page]:
    """A page all of whose requests have the prefix and succeed."""
    page = context.new_page()
    asked: list[str] = []
    missing: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: missing.append(answer.url) if not answer.ok else None)
    yield page
    assert asked
    assert all(url.startswith((prefixed, "data:", "blob:")) for url in asked), asked
    assert not missing


def test_swagger_asks_with_the_prefix(beyond: Page, prefixed: str) -> None:
    beyond.goto(f"{prefixed}/")
    block = beyond.locator("#operations-Classification-classify")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    block.locator('input[type="file"]').set_input_files(SAMPLES / "coat.png")
    with beyond.expect_response("**/classify*") as answered:
        block.get_by_role("button", name="Execute").click()
    assert answered.value.url.startswith(f"{prefixed}/classify")
    assert answered.value.json()["label"] == "Coat"


def test_the_page_to_try_the_model_on_asks_with_the_prefix(beyond: Page, prefixed: str) -> None:
    beyond.goto(f"{prefixed}/ui")
    beyond.set_input_files("#file", SAMPLES / "coat.png")
    found = shown(beyond)
    assert found.label == "Coat"
    assert f" {prefixed}/classify" in found.command
