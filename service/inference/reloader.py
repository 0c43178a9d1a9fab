"""Reload on SIGHUP: a worker loads its models' files again, and serves those that pass."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.runtime.loading import LOAD_SECONDS, begin, overdue

logger = logging.getLogger("bentoml.fashion_lenet")

T = TypeVar("T")


async def load_in_time(load: Callable[[], T]) -> T:
    """Return what load returns, run in a thread.

    Raises:
        ModelError: the load takes too long.
        Exception: any exception of the load.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(begin(load)), LOAD_SECONDS)
    except TimeoutError:
        raise overdue() from None


class ModelReloader:
    """Reloads the models at a signal, one reload after the other."""

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Reload with a function, which raises no error."""
        self._reload = reload
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def install_signal_handlers(self) -> None:
        """Handle SIGHUP on the running event loop, also one that arrived before this call."""
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.request_reload)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def request_reload(self) -> asyncio.Task[None]:
        """Start a reload; if one is running, reload once more after it."""
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())
        return self._task

    async def _work(self) -> None:
        while self._asked:
            self._asked = False
            await self._reload()
