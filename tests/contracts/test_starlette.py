"""Starlette: what a route and a response are made of.

Stood on by `service.rest.app`, `service.http.fast_router` and `service.http.responses`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def named(request: Request) -> Response:
    return JSONResponse(request.path_params)


def ask(app: Any, path: str) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get(path)

    return asyncio.run(get())


def test_a_route_is_found_by_its_path_regex() -> None:
    route = Route("/models/{name}", named, methods=["POST"])
    assert (route.path, route.endpoint, route.methods) == ("/models/{name}", named, {"POST"})
    found = route.path_regex.match("/models/one")
    assert found
    assert found.groupdict() == {"name": "one"}


def test_another_path_regex_in_its_place_decides() -> None:
    route = Route("/models/{name}", named)
    app = Starlette(routes=[route])
    assert ask(app, "/models/one").json() == {"name": "one"}
    assert route.path_regex.pattern.endswith("$")
    route.path_regex = re.compile(route.path_regex.pattern.replace("models", "others"))
    assert ask(app, "/models/one").status_code == 404
    assert ask(app, "/others/one").json() == {"name": "one"}


@pytest.mark.parametrize(("redirects", "status"), [(True, 307), (False, 404)])
def test_the_router_redirects_slashes_only_as_it_is_told(redirects: bool, status: int) -> None:
    app = Starlette(routes=[Route("/models", named)])
    app.router.redirect_slashes = redirects
    assert ask(app, "/models/").status_code == status


def test_the_lifespan_of_one_application_runs_within_anothers() -> None:
    steps = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        steps.append("begun")
        yield
        steps.append("ended")

    inner = Starlette(lifespan=lifespan)

    async def run() -> None:
        async with inner.router.lifespan_context(inner):
            steps.append("within")

    asyncio.run(run())
    assert steps == ["begun", "within", "ended"]


class Short(Response):
    """Made like `service.http.responses.Answer`, without Starlette's constructor."""

    def __init__(self) -> None:
        self.body, self.media_type = b"{}", "application/json"
        self.status_code, self.background = 201, None
        self.raw_headers = [(b"content-length", b"2")]


def test_a_response_needs_these_five_attributes_alone() -> None:
    answer = ask(Short(), "/")
    assert (answer.status_code, answer.content) == (201, b"{}")
    assert dict(answer.headers) == {"content-length": "2"}
