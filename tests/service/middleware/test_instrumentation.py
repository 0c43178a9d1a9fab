"""What is counted, logged and answered for a request, however it ends."""

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service.http.error_responses import HANDLERS
from service.http.scope import CONNECTION
from service.middleware.instrumentation import InstrumentationMiddleware
from service.rest import health
from service.server.http_protocol import LimitedHttpProtocol
from service.telemetry.access_log import AccessLog
from service.telemetry.request_timing import SCOPE_KEY

SECONDS = 600  # a last resort


class Host:
    """Our middleware and error handlers around routes of a test, on a real server."""

    def __init__(self, url: str, port: int, log: Path) -> None:
        self.url, self.port, self._log = url, port, log
        self.entered, self.leave = threading.Event(), threading.Event()
        self.is_closing: Callable[[], bool] = lambda: False  # the client that waits for /slow

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def fault(self, request: Request) -> Response:
        raise ZeroDivisionError("a fault of ours")

    async def late_fault(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ZeroDivisionError("a late fault of ours")

        return StreamingResponse(parts())

    async def slow(self, request: Request) -> Response:
        await request.body()
        self.is_closing = request.scope[CONNECTION].is_closing
        self.entered.set()
        await asyncio.to_thread(self.leave.wait, SECONDS)
        return Response("late")

    async def echo(self, request: Request) -> Response:
        return Response(await request.body())

    async def livez(self, request: Request) -> Response:
        return Response(status_code=int(request.query_params.get("status", "200")))

    def routes(self) -> list[Route]:
        return [
            Route("/fault", self.fault),
            Route("/late_fault", self.late_fault),
            Route("/slow", self.slow, methods=["POST"]),
            Route("/echo", self.echo, methods=["POST"]),
            Route("/livez", self.livez),
            *health.METRICS,
        ]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        port = listener.getsockname()[1]
        host = Host(f"http://127.0.0.1:{port}", port, tmp_path / "log")
        routes = host.routes()
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        observed = InstrumentationMiddleware(app, routes, AccessLog("json", log.fileno()))
        config = uvicorn.Config(observed, http=LimitedHttpProtocol, log_config=None, lifespan="off")
        with running(config, listener):
            yield host


@contextmanager
def running(config: uvicorn.Config, listener: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], object]) -> None:
    """Ask until a condition of the server holds."""
    for _ in range(SECONDS * 100):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def await_count(host: Host, route: str, status: int, count: float) -> None:
    """Wait until so many are counted, which happens after the answer was sent."""
    wait_for(lambda: counted(host, route, status) >= count)
    assert counted(host, route, status) == count


def counted(host: Host, route: str, status: int) -> float:
    httpx.get(f"{host.url}/metrics").raise_for_status()  # who looks has what waits told at once
    labels = {"route": route, "status": str(status)}
    return REGISTRY.get_sample_value("fashion_requests_total", labels) or 0.0


def test_a_fault_of_ours_is_500_in_the_answer_the_metrics_and_the_log(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted(host, "/fault", 500)
    answer = httpx.get(f"{host.url}/fault", headers={"X-Request-ID": "faulty-1"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed; its log says why, under faulty-1"}
    assert answer.headers["X-Request-ID"] == "faulty-1"
    await_count(host, "/fault", 500, before + 1)
    wait_for(host.lines)
    (line,) = host.lines()
    assert (line["request_id"], line["status"]) == ("faulty-1", 500)
    traces = [record for record in caplog.records if record.exc_info]
    (trace,) = traces
    assert trace.getMessage() == "Request faulty-1 failed:"
    assert trace.exc_info
    assert str(trace.exc_info[1]) == "a fault of ours"
    assert trace.levelno == logging.ERROR


def test_a_fault_in_the_middle_of_an_answer_is_500_too_and_ends_it(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted(host, "/late_fault", 500)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        httpx.get(f"{host.url}/late_fault", headers={"X-Request-ID": "faulty-2"})
    await_count(host, "/late_fault", 500, before + 1)
    wait_for(host.lines)
    (line,) = host.lines()
    assert (line["request_id"], line["status"]) == ("faulty-2", 500)
    assert [r.getMessage() for r in caplog.records if r.exc_info] == ["Request faulty-2 failed:"]


def test_a_client_that_leaves_while_it_sends_is_499(host: Host) -> None:
    before = counted(host, "/echo", 499)
    with socket.create_connection(("127.0.0.1", host.port)) as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun")
    wait_for(host.lines)
    (line,) = host.lines()
    assert (line["path"], line["status"]) == ("/echo", 499)
    await_count(host, "/echo", 499, before + 1)


def test_a_client_that_leaves_while_it_waits_is_499(host: Host) -> None:
    before = counted(host, "/slow", 499)
    with socket.create_connection(("127.0.0.1", host.port)) as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        assert host.entered.wait(SECONDS)
    wait_for(lambda: host.is_closing())
    host.leave.set()
    wait_for(host.lines)
    (line,) = host.lines()
    assert (line["path"], line["status"]) == ("/slow", 499)
    await_count(host, "/slow", 499, before + 1)


def test_a_client_that_waits_long_gets_its_answer(host: Host) -> None:
    before = counted(host, "/slow", 200)

    def leave() -> None:
        host.entered.wait(SECONDS)
        host.leave.set()

    thread = threading.Thread(target=leave)
    thread.start()
    answer = httpx.post(f"{host.url}/slow", content=b"x", timeout=SECONDS)
    thread.join()
    assert (answer.status_code, answer.text) == (200, "late")
    await_count(host, "/slow", 200, before + 1)
    wait_for(host.lines)
    assert [line["status"] for line in host.lines()] == [200]


def test_a_body_passes_unchanged(host: Host) -> None:
    content = os.urandom(300_000)
    assert httpx.post(f"{host.url}/echo", content=content).content == content


def test_probes_are_logged_only_when_they_fail(host: Host) -> None:
    for status in (200, 503, 200):
        httpx.get(f"{host.url}/livez", params={"status": status})
    httpx.get(f"{host.url}/nothing")
    wait_for(lambda: any(line["path"] == "/nothing" for line in host.lines()))
    assert [(line["path"], line["status"]) for line in host.lines()] == [
        ("/livez", 503),
        ("/nothing", 404),
    ]


def test_probes_are_counted_all_the_same(host: Host) -> None:
    before = counted(host, "/livez", 200)
    httpx.get(f"{host.url}/livez")
    await_count(host, "/livez", 200, before + 1)


def test_a_connection_that_is_held_after_its_answer_is_no_slow_request(tmp_path: Path) -> None:
    found: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        await send({"type": "http.response.body", "body": b"{}", "more_body": True})
        found.append(scope[SCOPE_KEY].total)
        await send({"type": "http.response.body"})
        found.append(scope[SCOPE_KEY].total)

    async def ignore(message: Any) -> None:
        pass

    async def ask() -> None:
        with (tmp_path / "log").open("wb") as log:
            scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": None}
            await InstrumentationMiddleware(app, [], AccessLog("json", log.fileno()))(
                scope, ignore, ignore
            )
            await asyncio.sleep(0)  # the turn in which the log is written

    asyncio.run(ask())
    assert found[0] == found[1]
    assert json.loads((tmp_path / "log").read_text())["total_ms"] == round(found[0] * 1e3, 3)
