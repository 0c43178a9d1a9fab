"""What a worker does at SIGTERM, with a uvicorn of this process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import uvicorn

from service.server.draining import CLOSE, Draining
from tests.service.asgi_host import echo

LONG = 3600.0  # seconds


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """A server that handles SIGTERM, and listens to nothing."""
    config = uvicorn.Config(echo, log_config=None)
    config.load()
    server = uvicorn.Server(config)
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, before)


def terminated(draining: Draining, met: Callable[[], bool]) -> list[str]:
    """Send SIGTERM and wait for something; return what was called at the end."""
    called: list[str] = []
    for name in "ab":
        draining.call_at_end(lambda name=name: called.append(name))  # type: ignore[misc]

    async def run() -> None:
        draining.install_signal_handlers()
        assert draining.not_ready_reason == ""
        os.kill(os.getpid(), signal.SIGTERM)
        while not met():
            await asyncio.sleep(0)

    asyncio.run(run())
    return called


def is_closing(server: uvicorn.Server) -> bool:
    return CLOSE in server.config.encoded_headers and CLOSE in server.server_state.default_headers


def test_a_worker_serves_on_and_tells_everybody_to_go(
    server: uvicorn.Server, caplog: pytest.LogCaptureFixture
) -> None:
    draining = Draining(LONG)
    with caplog.at_level("INFO", "bentoml.fashion_lenet"):
        assert terminated(draining, lambda: draining.not_ready_reason != "") == []
    assert draining.not_ready_reason == (
        "draining: the server is stopping, send requests to another one"
    )
    assert is_closing(server)
    assert not server.should_exit
    assert caplog.messages == ["Draining: the server stops in 3600 s."]


def test_it_ends_after_its_time(server: uvicorn.Server) -> None:
    draining = Draining(0.01)
    assert terminated(draining, lambda: server.should_exit) == ["a", "b"]
    assert is_closing(server)


def test_it_ends_at_once_without_a_time(server: uvicorn.Server) -> None:
    draining = Draining(0)
    assert terminated(draining, lambda: draining.not_ready_reason != "") == ["a", "b"]
    assert server.should_exit
    assert not is_closing(server)


def test_it_ends_at_the_second_signal(server: uvicorn.Server) -> None:
    draining = Draining(LONG)

    async def terminate_twice() -> None:
        draining.install_signal_handlers()
        os.kill(os.getpid(), signal.SIGTERM)
        while not draining.not_ready_reason:
            await asyncio.sleep(0)
        assert not server.should_exit
        os.kill(os.getpid(), signal.SIGTERM)
        while not server.should_exit:
            await asyncio.sleep(0)

    asyncio.run(terminate_twice())


def test_without_uvicorn_signals_stay_as_they_are() -> None:
    before = signal.getsignal(signal.SIGTERM)
    draining = Draining(LONG)
    called: list[str] = []
    draining.call_at_end(lambda: called.append("end"))
    draining.install_signal_handlers()
    assert signal.getsignal(signal.SIGTERM) is before
    draining.end()
    assert called == ["end"]
