"""Draining of a worker: it reports not ready, keeps serving for a while, and then stops."""

import asyncio
import logging
import signal
from collections.abc import Callable
from types import FrameType

from uvicorn import Server

logger = logging.getLogger("bentoml.fashion_lenet")

CLOSE = (b"connection", b"close")


class Draining:
    """Keep a worker serving between SIGTERM and its exit.

    Attributes:
        not_ready_reason: why the worker is not ready; empty before SIGTERM.
    """

    def __init__(self, seconds: float) -> None:
        """Keep serving for this many seconds before the server stops listening."""
        self.not_ready_reason = ""
        self._seconds = seconds
        self._server: Server | None = None
        self._on_end: list[Callable[[], object]] = []

    def install_signal_handlers(self) -> None:
        """Handle SIGTERM instead of this worker's uvicorn; do nothing without uvicorn."""
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if not isinstance(server, Server):
            return
        self._server = server
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin)

        signal.signal(signal.SIGTERM, begin)

    def call_at_end(self, callback: Callable[[], object]) -> None:
        """Call a function when the server begins to stop, on the event loop."""
        self._on_end.append(callback)

    def end(self) -> None:
        """Finish the in-flight requests, and stop."""
        for callback in self._on_end:
            callback()
        if self._server is not None:
            self._server.handle_exit(signal.SIGTERM, None)

    def _begin(self) -> None:
        if self.not_ready_reason or self._server is None or self._seconds == 0:
            self.end()
        else:
            # Connected clients then move to another server. uvicorn rebuilds its default headers
            # from the first list every second.
            self._server.config.encoded_headers.append(CLOSE)
            self._server.server_state.default_headers.append(CLOSE)
            asyncio.get_running_loop().call_later(self._seconds, self.end)
            logger.info("Draining: the server stops in %g s.", self._seconds)
        self.not_ready_reason = "draining: the server is stopping, send requests to another one"
