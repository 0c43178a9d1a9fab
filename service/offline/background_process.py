"""Start processes that ignore Ctrl-C; the process that starts them also ends them."""

import signal
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running


def start(process: BaseProcess) -> None:
    """Start a process in which SIGINT is blocked from the beginning."""
    ensure_running()  # started later, it would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
