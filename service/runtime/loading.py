"""Loading a model with a time limit, whatever its file contains.

A thread in which ONNX Runtime opens a file cannot be stopped. It is a daemon thread: the process
ends without waiting for it.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from service.errors import ModelError

LOAD_SECONDS = 120.0  # to read, open, check and warm up a model, CUDA's libraries among it

T = TypeVar("T")


def begin(work: Callable[[], T]) -> "Future[T]":
    """Return the future of some work in a daemon thread."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the future is awaited
            future.set_exception(error)

    Thread(target=run, name="loading", daemon=True).start()
    return future


def within_time(load: Callable[[], T]) -> T:
    """Return what load returns, within the time limit.

    Raises:
        ModelError: the load takes too long.
        Exception: any exception of the load.
    """
    future = begin(load)
    try:
        return future.result(LOAD_SECONDS)
    except TimeoutError:
        if future.done():
            raise
        raise overdue() from None


def overdue() -> ModelError:
    """Return the error for a load that takes too long."""
    return ModelError(f"the model is not loaded after {LOAD_SECONDS:g} s")
