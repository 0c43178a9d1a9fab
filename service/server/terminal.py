"""Detection of a terminal that was just closed.

SIGHUP from a closed terminal stops the server, as it stops any program. SIGHUP from an operator
reloads the model, also in a server that outlived its terminal or was started with `nohup`.
"""

import os
import signal
import time

CLOSING_SECONDS = 5.0  # within which a shell passes the SIGHUP of a closed terminal to its jobs


class Terminal:
    """The controlling terminal of this process, if it has one."""

    def __init__(self) -> None:
        """Note whether there is a terminal; call before signal handlers are installed."""
        # A process started with `nohup` outlives its terminal.
        self._matters = _is_there() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._closed: float | None = None  # when the terminal was first seen closed

    def look(self) -> None:
        """Check whether the terminal is closed; to be called about once a second."""
        if self._matters and self._closed is None and not _is_there():
            self._closed = time.monotonic()

    def has_just_closed(self) -> bool:
        """Whether a SIGHUP that arrives now comes from the terminal."""
        self.look()
        return self._closed is not None and time.monotonic() - self._closed < CLOSING_SECONDS


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:  # ENXIO: there is no terminal, or it is closed
        return False
    return True
