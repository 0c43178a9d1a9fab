"""Loading a model in a time that ends, whatever its file holds.

A thread cannot be stopped in which ONNX Runtime opens a file: it is left to itself, and the process
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
    """Do some work in a thread of its own, for which no process waits as it ends."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # for whoever waits
            future.set_exception(error)

    Thread(target=run, name="loading", daemon=True).start()
    return future


def within_time(load: Callable[[], T]) -> T:
    """Load a model, and wait for it.

    Raises:
        ModelError: it takes too long.
        Exception: what the load raises.
    """
    future = begin(load)
    try:
        return future.result(LOAD_SECONDS)
    except TimeoutError:
        if future.done():
            raise
        raise overdue() from None


def overdue() -> ModelError:
    """Say that it takes too long."""
    return ModelError(f"the model is not loaded after {LOAD_SECONDS:g} s")
