"""Whether the terminal that a server was started in has just been closed.

Its SIGHUP then means what it means to any program, the end. Sent by an operator it means to load
the model again; so it does to a server that outlived its terminal, or was started with `nohup`.
"""

import os
import signal
import time

CLOSING_SECONDS = 5.0  # in which a shell passes on to its jobs that the terminal is closed


class Terminal:
    """The one that controls this process, if any does."""

    def __init__(self) -> None:
        """Look at what this process was started with, before it takes signals."""
        # What `nohup` starts shall outlive its terminal.
        self._matters = _is_there() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._closed: float | None = None  # when that was first seen

    def look(self) -> None:
        """Note it if the terminal is closed by now; to be called every second or so."""
        if self._matters and self._closed is None and not _is_there():
            self._closed = time.monotonic()

    def has_just_closed(self) -> bool:
        """Whether a SIGHUP that comes now is that of the terminal."""
        self.look()
        return self._closed is not None and time.monotonic() - self._closed < CLOSING_SECONDS


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:  # ENXIO: there is none, or it has been closed
        return False
    return True
