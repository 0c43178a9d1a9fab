"""The fast router gives the same answers as Starlette's, for each path."""

import asyncio
import gc
import tracemalloc
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.http.fast_router import FastRouter


async def echo(request: Request) -> Response:
    found = dict(request.path_params)
    request.path_params["name"] = "changed by an earlier request"
    return JSONResponse(found)


ROUTES = [
    Route("/plain", echo, methods=["POST"]),
    Route("/models/{name}/versions/{version}/infer", echo, methods=["POST"]),
    Route("/models/{name}/infer", echo, methods=["POST"]),
]

PATHS, LENGTH = 128, 200


def post(app: Any, *paths: str) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.post(path) for path in paths]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "path",
    [
        "/plain",
        "/models/a/infer",
        "/models/b/infer",
        "/models/a/versions/1/infer",
        "/models/a%20b/infer",
        f"/models/{'a' * LENGTH}/infer",
        "/models/a/b/infer",
        "/models//infer",
        "/nothing",
    ],
)
def test_every_request_has_its_own_parameters(path: str) -> None:
    app = Starlette(routes=ROUTES)
    expected = post(app, path)[0]
    for found in post(FastRouter(app, ROUTES), path, path, path):
        assert (found.status_code, found.content) == (expected.status_code, expected.content)


def test_paths_that_are_never_the_same_are_not_kept() -> None:
    way = FastRouter(Starlette(routes=ROUTES), ROUTES)
    numbers = [str(number) for number in range(2 * PATHS)]
    found = post(way, *(f"/models/{number}/infer" for number in numbers))
    assert [answer.json() for answer in found] == [{"name": number} for number in numbers]

    def kept_by(count: int) -> int:
        before, _ = tracemalloc.get_traced_memory()
        post(
            way,
            *(f"/models/{'m' * (LENGTH // 2)}{uuid4()}/infer" for _ in range(count)),
        )
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    kept_by(PATHS)
    kept = kept_by(16 * PATHS)
    tracemalloc.stop()
    # Bytes: a fourth of the paths' own; other tests of this process leave some tens of kB, too.
    assert kept < 4 * PATHS * LENGTH
