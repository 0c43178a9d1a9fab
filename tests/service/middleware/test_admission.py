"""Which requests are admitted, and what happens to rejected, slow and cancelled ones."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from service.errors import Overloaded
from service.http.error_responses import HANDLERS
from service.inference.load_limiter import LoadLimiter
from service.middleware import admission
from service.middleware.admission import MAX_BUFFERED_BODIES, AdmissionMiddleware
from service.middleware.body_budget import SMALL_BODY_BYTES, STILL_SECONDS
from service.settings import ServiceSettings
from tests.service.asgi_host import SECONDS, connected, eventually, hosted, read_all, read_answer

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def post(path: str, body: bytes = b"a", length: int | None = None) -> bytes:
    """A request, whose body may be shorter than its Content-Length."""
    length = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + body


class Host:
    """Routes that wait until the test lets them go on, behind an Admission."""

    def __init__(self) -> None:
        self.leave = threading.Event()
        self.entered = threading.Semaphore(0)
        self.received = threading.Semaphore(0)
        self.begun: list[str] = []
        self.thread = ThreadPoolExecutor(1)
        self.routes = [
            Route("/echo", self.echo, methods=["POST"]),
            Route("/wait/{name}", self.wait, methods=["POST"]),
            Route("/overload", self.overload, methods=["POST"]),
            Route("/livez", self.livez),
        ]
        self.app = Starlette(routes=self.routes, exception_handlers=HANDLERS)

    def serve(self, **settings: float) -> None:
        known = ServiceSettings(**settings)  # type: ignore[arg-type]
        self.limiter = LoadLimiter(known.max_concurrency)
        self.admission = AdmissionMiddleware(self.app, self.routes, known, self.limiter)

    @contextmanager
    def hosted(self, **settings: float) -> Iterator[int]:
        """Serve the routes until the block ends; gives the port."""
        self.serve(**settings)
        with hosted(self.admission, limiter=self.limiter) as port:
            yield port

    async def echo(self, request: Request) -> Response:
        async for _ in request.stream():
            self.received.release()
        return JSONResponse("echo")

    async def wait(self, request: Request) -> Response:
        """Do some work in a thread of which there is one."""
        await request.body()
        self.entered.release()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.thread, self.work, request.path_params["name"])
        return JSONResponse("waited")

    async def overload(self, request: Request) -> Response:
        """Refuse, after the body or, where it has none, before."""
        if request.headers["content-length"] != "10":
            await request.body()
        raise Overloaded("the model is busy")

    def work(self, name: str) -> None:
        self.begun.append(name)
        self.leave.wait(SECONDS)

    async def livez(self, request: Request) -> Response:
        return JSONResponse("live")

    def enter(self) -> None:
        """Wait until one more request is at work or in the queue."""
        assert self.entered.acquire(timeout=SECONDS)

    def receive(self) -> None:
        """Wait until one more piece of a body is there."""
        assert self.received.acquire(timeout=SECONDS)

    def done(self) -> list[str]:
        """Let all work end, and return which was started."""
        self.leave.set()
        self.thread.shutdown()
        return self.begun


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.done()


def test_more_than_the_limit_are_refused_at_once_and_probes_never(host: Host) -> None:
    with host.hosted(max_concurrency=3) as port, ExitStack() as stack:
        waiting = []
        for name in "abc":
            waiting.append(stack.enter_context(connected(port, post(f"/wait/{name}"))))
            host.enter()
        with connected(port, post("/echo", b"", length=10)) as connection:  # and before its body
            status, headers, content = read_answer(connection)
        assert (status, headers["retry-after"]) == (429, "1")
        assert content == {
            "error": "this worker has 4 requests in flight, the maximum is 3: try again"
        }
        with connected(port, LIVEZ) as connection:
            assert read_answer(connection)[0] == 200
        host.leave.set()
        assert [read_answer(connection)[0] for connection in waiting] == [200] * 3
        with connected(port, post("/echo")) as connection:
            assert read_answer(connection)[0] == 200
        eventually(lambda: (host.limiter.exempted, host.admission.bodies.bytes) == (0, 0))


@pytest.mark.parametrize("request_bytes", [post("/overload"), post("/overload", b"", length=10)])
def test_a_connection_that_a_route_refuses_waits_too(
    host: Host, request_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "REJECTION_HOLD_SECONDS", 0.5)
    with host.hosted() as port, connected(port, request_bytes) as connection:
        begun = time.monotonic()
        status, _, content = read_answer(connection)
        assert (status, content) == (429, {"error": "the model is busy"})
        eventually(lambda: host.limiter.in_flight == 0)
        assert time.monotonic() - begun >= 0.4
        assert host.limiter.exempted == 0


def test_what_is_refused_names_its_route(host: Host) -> None:
    scopes = []

    async def noted(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        scopes.append(scope)
        await host.admission(scope, receive, send)

    host.serve(max_concurrency=1)
    with hosted(noted, limiter=host.limiter) as port, connected(port, post("/wait/a")):
        host.enter()
        with connected(port, post("/wait/b")) as connection:
            assert read_answer(connection)[0] == 429
        host.leave.set()
    assert [scope["endpoint"] for scope in scopes] == [host.wait, host.wait]


def test_uploads_that_are_not_whole_take_nobodys_place(host: Host) -> None:
    with host.hosted(max_concurrency=1) as port, ExitStack() as stack:
        uploads = [
            stack.enter_context(connected(port, post("/echo", b"a", length=2))) for _ in range(5)
        ]
        for _ in uploads:
            host.receive()
        with connected(port, post("/echo")) as connection:
            assert read_answer(connection)[0] == 200
        for upload in uploads:
            upload.sendall(b"a")
            assert read_answer(upload)[0] == 200


def test_uploads_together_are_no_larger_than_they_may_be(host: Host) -> None:
    """Of two large bodies, the one that has stalled is cancelled; a small body always fits."""
    large = 100_000
    most = MAX_BUFFERED_BODIES * large
    with host.hosted(max_body_bytes=large) as port, ExitStack() as stack:
        held = stack.enter_context(connected(port, post("/echo", b"a" * (most - 1), length=most)))
        eventually(lambda: host.admission.bodies.bytes == most - 1)
        for _ in range(20):
            with connected(port, post("/echo", b"a" * SMALL_BODY_BYTES)) as small:
                assert read_answer(small)[0] == 200
        eventually(lambda: host.admission.bodies.bytes == most - 1)
        begun = time.monotonic()
        eventually(lambda: time.monotonic() - begun > STILL_SECONDS)
        quick = stack.enter_context(connected(port, post("/echo", b"a" * large)))
        assert read_answer(quick)[0] == 200
        status, headers, content = read_answer(held)
        assert (status, headers["retry-after"]) == (429, "1")
        assert content["error"].endswith(
            "bytes of request bodies, the maximum is 1,600,000: try again"
        )
        eventually(lambda: host.admission.bodies.bytes == 0)


def test_a_refused_connection_waits_before_its_next_request(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "REJECTION_HOLD_SECONDS", 0.5)
    with host.hosted(max_concurrency=1) as port, connected(port, post("/wait/a")):
        host.enter()
        begun = time.monotonic()
        with connected(port, post("/echo") + LIVEZ) as connection:
            assert read_answer(connection)[0] == 429
            connection.sendall(LIVEZ)
            assert read_answer(connection)[2] == "live"
            assert time.monotonic() - begun >= 0.5
            assert read_answer(connection)[2] == "live"
        host.leave.set()


def test_a_refused_client_that_leaves_is_not_waited_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "REJECTION_HOLD_SECONDS", 10 * SECONDS)
    with host.hosted(max_concurrency=1) as port, connected(port, post("/wait/a")):
        host.enter()
        with connected(port, post("/echo", b"a" * 200_000, length=300_000)) as connection:
            assert read_answer(connection)[0] == 429
        eventually(lambda: host.limiter.exempted == 0)
        host.leave.set()


def test_a_body_that_is_not_whole_in_time_is_408(host: Host) -> None:
    with (
        host.hosted(timeout_seconds=0.1) as port,
        connected(port, post("/echo", b"a", length=2)) as connection,
    ):
        status, headers, content = read_answer(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert content == {"error": "the body was not complete after 0.1 s"}
        assert read_all(connection) == b""
        eventually(lambda: (host.limiter.exempted, host.admission.bodies.bytes) == (0, 0))


def test_work_that_is_not_done_in_time_is_504_and_not_begun_later(host: Host) -> None:
    with host.hosted(timeout_seconds=0.5) as port, ExitStack() as stack:
        waiting = []
        for name in "ab":
            waiting.append(stack.enter_context(connected(port, post(f"/wait/{name}"))))
            host.enter()
        for connection in waiting:
            status, _, content = read_answer(connection)
            assert status == 504
            assert content["error"].startswith("there was no answer after 0.5 s")
            connection.sendall(LIVEZ)
            assert read_answer(connection)[0] == 200
        assert host.done() == ["a"]


@pytest.mark.parametrize("size", [1, 100_000])
def test_work_for_a_client_that_has_left_is_not_begun(host: Host, size: int) -> None:
    with host.hosted() as port:
        with connected(port, post("/wait/a")):
            host.enter()
            with connected(port, post("/wait/b", b"", length=size)) as connection:
                eventually(lambda: host.limiter.exempted == 1)
                connection.sendall(b"a" * size)
                host.enter()
        eventually(lambda: host.admission.bodies.bytes == 0)
        assert host.done() == ["a"]


def test_an_upload_that_is_cut_short_leaves_nothing_behind(host: Host) -> None:
    with host.hosted() as port:
        with connected(port, post("/echo", b"a", length=2)):
            host.receive()
        eventually(lambda: (host.limiter.exempted, host.admission.bodies.bytes) == (0, 0))
        with connected(port, post("/echo")) as connection:
            assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("sizes", [[1], [0], [SMALL_BODY_BYTES, 1], [1, 1, 1]])
def test_an_answered_request_is_freed_without_the_garbage_collector(sizes: list[int]) -> None:
    class Kept:
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a"})

    async def send(message: Message) -> None:
        pass

    async def ask() -> weakref.ref[Kept]:
        kept = Kept()
        left = [*sizes]

        async def receive() -> Message:
            body = bytes(left.pop(0))
            return {"type": "http.request", "body": body, "more_body": bool(left)}

        scope = {"type": "http", "method": "POST", "path": "/", "kept": kept}
        await AdmissionMiddleware(app, [], ServiceSettings(), LoadLimiter(1))(scope, receive, send)
        return weakref.ref(kept)

    gc.disable()
    try:
        assert asyncio.run(ask())() is None
    finally:
        gc.enable()


def test_nothing_of_an_answered_request_is_kept_until_its_time_is_up(host: Host) -> None:
    def kept() -> int:
        gc.collect()
        return sum(type(found) is admission._Admitted for found in gc.get_objects())

    with host.hosted(timeout_seconds=3600) as port:
        with connected(port, post("/echo", b"a" * 100_000)) as connection:
            assert read_answer(connection)[0] == 200
        eventually(lambda: kept() == 0)
