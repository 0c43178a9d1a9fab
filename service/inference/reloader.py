"""Reload on SIGHUP: a worker loads its model's file again, and serves it if it passes its check."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

from service.errors import ModelError
from service.inference.served_model import ServedModel
from service.runtime.loading import LOAD_SECONDS, begin, overdue
from service.telemetry.metrics import RELOADS

logger = logging.getLogger("bentoml.fashion_lenet")


class ModelReloader:
    """Replaces a model while requests run; requests in flight finish on the old model."""

    def __init__(
        self, load: Callable[[], ServedModel | None], serve: Callable[[ServedModel], None]
    ) -> None:
        """Reload with two functions.

        Args:
            load: opens, checks and warms up the model, in a thread; returns None if the file has
                not changed, and raises an error if the model cannot be served.
            serve: replaces the served model, on the event loop.
        """
        self._load = load
        self._serve = serve
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

    async def _load_in_time(self) -> ServedModel | None:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(begin(self._load)), LOAD_SECONDS)
        except TimeoutError:
            raise overdue() from None

    async def _reload(self) -> None:
        try:
            served = await self._load_in_time()
        except Exception as error:
            RELOADS.labels("kept").inc()
            unexpected = not isinstance(error, ModelError)
            logger.error("The model is not changed: %s", error, exc_info=unexpected)
        else:
            if served is not None:
                self._serve(served)
            RELOADS.labels("unchanged" if served is None else "changed").inc()
