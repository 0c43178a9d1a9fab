"""Ctrl-C that lets the current step end, so that no tensor is half updated."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupted(BaseException):
    """The run was asked to stop. Like KeyboardInterrupt, no failure and no Exception."""

    def __init__(self, signal_number: int) -> None:
        """Remember which signal it was, for the exit status."""
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number


class Interruption:
    """While entered, the first SIGINT or SIGTERM is remembered; a second one acts at once."""

    def __init__(self) -> None:
        """Install nothing yet."""
        self._received: int | None = None
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "Interruption":
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            # None would be a handler that was not installed from Python.
            self._previous[number] = signal.signal(number, self._receive) or signal.SIG_DFL
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._received is not None:
            raise Interrupted(self._received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, self._previous[number])
        print("\nstopping after this step; once more to stop at once", file=sys.stderr, flush=True)


@contextmanager
def loading() -> Iterator[None]:
    """While entered, Ctrl-C ends the process at once: half loaded, a library takes no exception."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
