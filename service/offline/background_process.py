"""Starting processes that a person's Ctrl-C does not reach: who has started them ends them."""

import signal
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running


def start(process: BaseProcess) -> None:
    """Start a process in which SIGINT is blocked from its first moment on."""
    ensure_running()  # which would unblock the signal if it came later
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
