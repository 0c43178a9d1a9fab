"""The middleware that asks for a key: what it accepts, what it refuses, and how."""

import asyncio
import hmac
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.middleware.authentication import APIKeyMiddleware, needs_key
from service.settings import ServiceSettings, read_keys
from tests.service.middleware.keys import FIRST, OPEN, SECOND, WRONG

THIRD = "X-third-key-0123456789-X"


@pytest.mark.parametrize("path", OPEN)
def test_only_the_whole_path_is_open(path: str) -> None:
    assert not needs_key("GET", path)
    assert needs_key("POST", path)
    assert needs_key("GET", f"/x{path}")
    if not path.startswith("/ui/"):
        assert needs_key("GET", f"{path}x")
        assert needs_key("GET", f"{path}\n")


def test_every_key_is_compared_whatever_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    closed = APIKeyMiddleware(Starlette(), [], map(SecretStr, (FIRST, SECOND)))

    async def ask() -> int:
        transport = httpx.ASGITransport(closed)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/metrics", headers={"X-API-Key": FIRST})).status_code

    assert asyncio.run(ask()) == 404  # let in, where there is nothing
    assert compared == [FIRST.encode(), SECOND.encode()]


def asked(
    method: str, path: str, headers: dict[str, Any] | None = None
) -> tuple[httpx.Response, list[Scope]]:
    """An answer of an application with three keys, and the scopes as they are once it is given."""
    scopes: list[Scope] = []

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    routes = [
        Route("/metrics", hello),
        Route("/livez", hello),
        Route("/classify", hello, methods=["POST"], name="classify"),
    ]
    closed = APIKeyMiddleware(
        Starlette(routes=routes), routes, map(SecretStr, (FIRST, SECOND, THIRD))
    )

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await closed(scope, receive, send)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(noted)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers, content="hello")

    return asyncio.run(ask()), scopes


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "the request has no key"),
        ({"Authorization": f"Basic {FIRST}"}, "the request has no key"),
        ({"Authorization": f"bearer{FIRST}"}, "the request has no key"),
        ({"X-API-Key": WRONG}, "the key is not valid"),
        ({"X-API-Key": f"Bearer {FIRST}"}, "the key is not valid"),
        ({"Authorization": f"Bearer {FIRST[:-1]}"}, "the key is not valid"),
        ({"Authorization": f"Bearer x {FIRST}"}, "the key is not valid"),
        ({"Authorization": "Bearer "}, "the key is not valid"),
        ({"Authorization": f"Bearer \t{FIRST}"}, "the key is not valid"),
    ],
    ids=range(9),
)
def test_a_refusal_says_what_is_wrong_and_how_it_is_right(
    headers: dict[str, str], why: str
) -> None:
    answer, (scope,) = asked("POST", "/classify", headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "error": f"{why}: send one as Authorization: Bearer KEY or as X-API-Key: KEY"
    }
    assert scope["endpoint"].__name__ == "hello"  # its route is counted
    assert "endpoint" not in asked("GET", "/nothing", headers)[1][0]


@pytest.mark.parametrize("key", [FIRST, SECOND, THIRD])
def test_either_key_lets_in_by_either_header_and_beside_a_wrong_one(key: str) -> None:
    for headers in (
        {"X-API-Key": key},
        {"authorization": f"bEARER {key}"},
        {"Authorization": f"Bearer  {key}  "},
        {"Authorization": f"Bearer {key}", "X-API-Key": WRONG},
        {"Authorization": f"Bearer {WRONG}", "X-API-Key": key},
        {"Authorization": "Basic x", "X-API-Key": key},
    ):
        assert asked("POST", "/classify", headers)[0].text == "hello"
        assert asked("GET", "/metrics", headers)[0].text == "hello"
    assert asked("GET", "/livez")[0].text == "hello"


def test_only_requests_have_keys() -> None:
    """The server's start has none."""
    passed: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    closed = APIKeyMiddleware(application, [], [SecretStr(FIRST)])
    asyncio.run(closed({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]


@given(
    st.lists(st.text("".join(map(chr, range(33, 127))).replace(",", ""), min_size=16), min_size=1)
)
def test_whatever_a_header_can_carry_can_be_a_key(keys: list[str]) -> None:
    found = read_keys(",".join(keys))
    assert [key.get_secret_value() for key in found] == keys
    assert not any(key in repr(found) for key in keys)


def test_settings_show_no_key() -> None:
    settings = ServiceSettings(api_key=read_keys(FIRST))
    assert FIRST not in repr(settings) + str(settings) + settings.model_dump_json()
