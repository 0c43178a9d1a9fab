"""Handle Ctrl-C after the current step, so that no tensor is half updated."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType

INTERRUPTED = 128 + signal.SIGINT  # as a shell reports a program that a signal ended


def run_until_interrupted(program: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a program with its arguments; return its exit status, also after Ctrl-C."""
    try:
        return program(arguments)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED


class Interrupted(BaseException):
    """A signal asked the run to stop. Like KeyboardInterrupt, it is not an Exception."""

    def __init__(self, signal_number: int) -> None:
        """Store the exit status for the signal."""
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number


class Interruption:
    """In this context, the first SIGINT or SIGTERM is only stored; a second one acts at once."""

    def __init__(self) -> None:
        """Create the context; no handler is installed yet."""
        self._received: int | None = None
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "Interruption":
        """Install the signal handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            # None means that the handler was not installed from Python.
            self._previous[number] = signal.signal(number, self._receive) or signal.SIG_DFL
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal was received."""
        if self._received is not None:
            raise Interrupted(self._received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, self._previous[number])
        print("\nstopping after this step; once more to stop at once", file=sys.stderr, flush=True)


@contextmanager
def loading() -> Iterator[None]:
    """In this context, Ctrl-C ends the process at once: libraries cannot be half imported."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
