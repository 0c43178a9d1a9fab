"""The supervisor of the workers: BentoML's arbiter with changed behaviour.

BentoML's own arbiter looks for dead workers every 10 seconds, and replaces none in a container.
On SIGHUP it replaces serving workers by new ones, whether these are ready or not. If the port is
in use, it prints a traceback. A worker sends SIGUSR1 when all workers shall load or unload a model
(`service.inference.worker_group`).
"""

import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import bentoml._internal.utils.circus as bentoml_circus
from bentoml._internal.utils.circus import Arbiter
from bentoml.exceptions import BentoMLConfigException

from service.server.listening import Address, cannot_listen
from service.server.terminal import Terminal

logger = logging.getLogger("bentoml.fashion_lenet")

CHECK_SECONDS = 1.0
BUSY_SECONDS = 0.05

# Windows has neither.
PASSED_ON = {signal.SIGHUP, signal.SIGUSR1} if sys.platform != "win32" else set()

REPLACED = "LENET_REPLACED"  # variable with the number of workers that replaced another


class Supervisor(Arbiter):
    """Replace dead workers, pass signals on to them, and kill them at the second stop signal."""

    def __init__(self, *args: Any, say: Callable[[Address], None], **kwargs: Any) -> None:
        """Take the arguments of BentoML's arbiter, and a callback for when the workers start."""
        self._terminal = Terminal()  # first, before circus installs its signal handlers
        super().__init__(*args, **{**kwargs, "check_delay": CHECK_SECONDS})
        self._say = say
        for watcher in self.watchers:
            watcher.respawn = True
            watcher.env[REPLACED] = str(-watcher.numprocesses)
            watcher.spawn_process = partial(_try_to_start, watcher.spawn_process)
            watcher.hooks["before_spawn"] = _before_spawn
            watcher.hooks["after_spawn"] = _unblock_signals

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:
        """Run until stopped; `say` replaces the line that BentoML would log."""
        super().start(lambda _: self._say(self._address()))

    def initialize(self) -> None:
        """Listen on the address of the service.

        Raises:
            BentoMLConfigException: listening fails.
        """
        circus = logging.getLogger("circus")
        level = circus.level
        circus.setLevel(logging.CRITICAL)  # hides circus's own line for the same error
        try:
            super().initialize()
        except OSError as error:
            raise BentoMLConfigException(
                str(cannot_listen(f"cannot listen on {self._address()}", error))
            ) from error
        finally:
            circus.setLevel(level)
        signal.signal(signal.SIGUSR1, self._on_change)

    async def manage_watchers(self) -> None:
        """Replace workers that died; called every second.

        circus would stop the server if a worker cannot start for lack of memory or descriptors,
        and log a traceback if the workers take longer than a second to start.
        """
        if not self._stopping and self._exclusive_running_command is None:
            self._terminal.look()
            self.reap_processes()
            for watcher in self.watchers:
                await watcher.manage_processes()

    def reload(self, graceful: bool = True, sequential: bool = False) -> None:
        """Make each worker reload the model; stop if the SIGHUP is from a closed terminal."""
        if self._stopping:
            return
        if self._terminal.has_just_closed():
            logger.info("The terminal is closed: the server stops.")
            self.loop.add_callback(self.stop)
        else:
            self._signal_workers(signal.SIGHUP)

    def stop(self) -> Any:
        """Stop the workers with SIGTERM and then the server; at the second call with SIGKILL."""
        if self._stopping:
            self._signal_workers(signal.SIGKILL)
            return None
        if self._exclusive_running_command is not None:  # circus would drop the command
            self.loop.call_later(BUSY_SECONDS, self.stop)
            return None
        return super().stop()

    def _on_change(self, number: int, frame: FrameType | None) -> None:
        self.loop.add_callback_from_signal(self._signal_workers, number)

    def _address(self) -> Address:
        (listener,) = self.sockets.values()
        return Address(listener.host, listener.port)

    def _signal_workers(self, number: int) -> None:
        for watcher in self.watchers:
            for process in watcher.get_active_processes():
                process.send_signal(number)


def install_supervisor(say: Callable[[Address], None]) -> None:
    """Make BentoML create a Supervisor as its arbiter, which calls say with its address."""
    if sys.platform != "win32":  # which has neither SIGHUP nor SIGKILL
        bentoml_circus.Arbiter = partial(Supervisor, say=say)  # type: ignore[assignment,misc]


def _try_to_start(start: Callable[..., Any], *args: Any) -> Any:
    """Start a worker, or let circus retry later: on False it would stop the other workers too."""
    started = start(*args)
    return None if started is False else started


# A worker inherits the blocked signals: they then wait until the worker can handle them. Not
# blocked, they would end a worker that is still starting.


def _before_spawn(watcher: Any, **_: Any) -> bool:
    watcher.env[REPLACED] = str(int(watcher.env[REPLACED]) + 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    return True


def _unblock_signals(**_: Any) -> bool:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    return True
