"""The end of a worker: it says that it is not ready, goes on answering, and then stops."""

import asyncio
import logging
import signal
from types import FrameType

from uvicorn import Server

logger = logging.getLogger("bentoml.fashion_lenet")

CLOSE = (b"connection", b"close")


class Draining:
    """What a worker does between SIGTERM and its end.

    Attributes:
        fault: why it is not ready; empty before SIGTERM.
    """

    def __init__(self, seconds: float) -> None:
        """Go on for so many seconds before the server stops to listen."""
        self.not_ready_reason = ""
        self._seconds = seconds
        self._server: Server | None = None

    @property
    def in_flight(self) -> int:
        """Requests of this worker that have begun and are not answered."""
        return 0 if self._server is None else len(self._server.server_state.tasks)

    def install_signal_handlers(self) -> None:
        """Take SIGTERM from the uvicorn that runs this worker; where there is none, do nothing."""
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if not isinstance(server, Server):
            return
        self._server = server
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin)

        signal.signal(signal.SIGTERM, begin)

    def end(self) -> None:
        """Finish what is in flight, and stop."""
        if self._server is not None:
            self._server.handle_exit(signal.SIGTERM, None)

    def _begin(self) -> None:
        if self.not_ready_reason or self._server is None or self._seconds == 0:
            self.end()
        else:
            # So that clients that stay connected go to another; uvicorn makes its own headers from
            # the first list each second.
            self._server.config.encoded_headers.append(CLOSE)
            self._server.server_state.default_headers.append(CLOSE)
            asyncio.get_running_loop().call_later(self._seconds, self.end)
            logger.info("Draining: the server stops in %g s.", self._seconds)
        self.not_ready_reason = "draining: the server was told to stop, ask another one"
