"""CORS: off, for origins, and for any; a preflight needs no key."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from bentoml.exceptions import BentoMLConfigException
from numpy.typing import NDArray

from service.server.startup import read_settings
from service.settings import read_origins
from tests.service.pictures import encode
from tests.serving import Server, serving

KEY = "cross-origin-key-0123456789"
SHOP, LOCAL, OTHER = "https://shop.example", "http://localhost:8080", "https://evil.example"
EXPOSED = {"X-Request-ID", "X-Model-Version", "Retry-After", "Server-Timing"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that pages of two origins may ask, with a key."""
    folder = tmp_path_factory.mktemp("shared")
    origins = f"{SHOP},{LOCAL}"
    with serving(
        folder, FASHION_DEVICE="cpu", FASHION_API_KEY=KEY, FASHION_CORS_ORIGINS=origins
    ) as server:
        yield server


def preflight(
    url: str, origin: str, method: str = "POST", header: str = "x-api-key"
) -> httpx.Response:
    headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
    return httpx.options(f"{url}/classify", headers={"Origin": origin, **headers})


@pytest.mark.parametrize("origin", [SHOP, LOCAL])
@pytest.mark.parametrize(
    "header",
    [
        *("X-API-Key", "Authorization", "Content-Type", "X-Request-ID", "cache-control"),
        *("x-requested-with", "traceparent", "sentry-trace,baggage", "x-anything-else"),
    ],
)
def test_a_preflight_needs_no_key(shared: Server, origin: str, header: str) -> None:
    answer = preflight(shared.url, origin, header=header)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert header.lower() in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", [OTHER, f"{SHOP}.evil.example", "null", f"{SHOP}:444"])
def test_another_origin_gets_nothing(shared: Server, origin: str) -> None:
    refused = preflight(shared.url, origin)
    assert refused.status_code == 400
    assert refused.json() == {
        "error": f"origin {origin!r} is not allowed: add it to FASHION_CORS_ORIGINS"
    }
    assert "Access-Control-Allow-Origin" not in refused.headers
    answer = httpx.get(f"{shared.url}/livez", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_other_method_is_allowed(shared: Server) -> None:
    refused = preflight(shared.url, SHOP, method="DELETE")
    assert refused.status_code == 400
    assert refused.json() == {"error": "the method is 'DELETE', expected one of GET, HEAD, POST"}
    assert refused.headers["Access-Control-Allow-Origin"] == SHOP  # so that the page can read it
    assert refused.headers["Vary"].startswith("Origin, ")


def test_any_origin_may_ask_with_any_header(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_CORS_ORIGINS="*") as server:
        answer = preflight(server.url, OTHER, header="authorization,cache-control")
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        # By name: * does not stand for Authorization (Fetch, section 3.3.4).
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,cache-control"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_answers_and_refusals_can_be_read_by_the_page(
    shared: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    url, origin = f"{shared.url}/classify", {"Origin": SHOP}
    picture = {"image": encode(ankle_boot)}
    answered = httpx.post(url, files=picture, headers=origin | {"X-API-Key": KEY})
    assert answered.json()["label"] == "Ankle boot"
    refused = httpx.post(url, files=picture, headers=origin)
    assert refused.status_code == 401
    for answer in (answered, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert "Origin" in answer.headers["Vary"]
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= EXPOSED
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_it_is_off_unless_it_is_set(server: Server) -> None:
    assert preflight(server.url, SHOP).status_code == 405
    answer = httpx.get(f"{server.url}/livez", headers={"Origin": SHOP})
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "value", ["*", SHOP, f"{SHOP},{LOCAL}", "http://[::1]:3000", "http://127.0.0.1"]
)
def test_origins_are_read(value: str) -> None:
    assert read_origins(value) == tuple(value.split(","))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("shop.example", "shop.example"),
        (f"{SHOP}/", f"{SHOP}/"),
        (f"{SHOP}/page", f"{SHOP}/page"),
        ("https://Shop.example", "https://Shop.example"),
        ("https://*.example", "https://*.example"),
        (f"{SHOP}, {LOCAL}", f" {LOCAL}"),
        (f"*,{SHOP}", "*"),
        ("ftp://shop.example", "ftp://shop.example"),
        ("null", "null"),
    ],
)
def test_what_is_no_origin_stops_the_start(
    value: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_CORS_ORIGINS", value)
    with pytest.raises(BentoMLConfigException) as caught:
        read_settings()
    assert str(caught.value).startswith(f"FASHION_CORS_ORIGINS={value}: Value error, {named!r} is")
