"""The parent of the workers: BentoML's arbiter, with what it does otherwise here.

BentoML's own looks for dead workers every 10 seconds, and in a container it replaces none. On
SIGHUP it starts new workers in the place of those that serve, be the new ones ready or not. A port
that is taken is a traceback.
"""

import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import bentoml._internal.utils.circus as bentoml_circus
from bentoml._internal.utils.circus import Arbiter
from bentoml.exceptions import BentoMLConfigException
from circus.util import synchronized  # type: ignore[import-untyped]

from service.server.listening import Address, cannot_listen
from service.server.terminal import Terminal

logger = logging.getLogger("bentoml.fashion_lenet")

CHECK_SECONDS = 1.0
BUSY_SECONDS = 0.05

REPLACED = "LENET_REPLACED"  # tells a worker how many started in the place of another


class Supervisor(Arbiter):
    """Replaces workers that die, passes SIGHUP on to them, and ends at once if told to twice."""

    def __init__(self, *args: Any, say: Callable[[Address], None], **kwargs: Any) -> None:
        """Take what BentoML's arbiter takes, and what to call when the workers start."""
        self._terminal = Terminal()  # first: circus takes the signals
        super().__init__(*args, **{**kwargs, "check_delay": CHECK_SECONDS})
        self._say = say
        for watcher in self.watchers:
            watcher.respawn = True
            watcher.env[REPLACED] = str(-watcher.numprocesses)
            watcher.spawn_process = partial(_try_to_start, watcher.spawn_process)
            watcher.hooks["before_spawn"] = _before_spawn
            watcher.hooks["after_spawn"] = _take_hangups

    def start(self, cb: Callable[[Any], Any] | None = None) -> None:
        """Run until told to stop; BentoML would have its own line written instead of `say`."""
        super().start(lambda _: self._say(self._address()))

    def initialize(self) -> None:
        """Listen.

        Raises:
            BentoMLConfigException: that cannot be.
        """
        circus = logging.getLogger("circus")
        level = circus.level
        circus.setLevel(logging.CRITICAL)  # its line for the same, which stands in no place of ours
        try:
            super().initialize()
        except OSError as error:
            raise BentoMLConfigException(
                str(cannot_listen(f"cannot listen on {self._address()}", error))
            ) from error
        finally:
            circus.setLevel(level)

    @synchronized("manage_watchers")  # type: ignore[untyped-decorator]
    async def manage_watchers(self) -> None:
        """Replace workers that died; called every second.

        Where none can be started, for want of memory or descriptors, circus would end the server.
        """
        if not self._stopping:
            self._terminal.look()
            self.reap_processes()
            for watcher in self.watchers:
                await watcher.manage_processes()

    def reload(self, graceful: bool = True, sequential: bool = False) -> None:
        """Have each worker load the model again; end if it is the terminal that was closed."""
        if self._stopping:
            return
        if self._terminal.has_just_closed():
            logger.info("The terminal is closed: the server stops.")
            self.loop.add_callback(self.stop)
        else:
            self._tell_workers(signal.SIGHUP)

    def stop(self) -> Any:
        """End the workers with SIGTERM and then the server; at the second time with SIGKILL."""
        if self._stopping:
            self._tell_workers(signal.SIGKILL)
            return None
        if self._exclusive_running_command is not None:  # circus would forget what it was told
            self.loop.call_later(BUSY_SECONDS, self.stop)
            return None
        return super().stop()

    def _address(self) -> Address:
        (listener,) = self.sockets.values()
        return Address(listener.host, listener.port)

    def _tell_workers(self, number: int) -> None:
        for watcher in self.watchers:
            for process in watcher.get_active_processes():
                process.send_signal(number)


def install_supervisor(say: Callable[[Address], None]) -> None:
    """Have the arbiter that BentoML makes next be a Supervisor, which says where it listens."""
    if sys.platform != "win32":  # which has neither SIGHUP nor SIGKILL
        bentoml_circus.Arbiter = partial(Supervisor, say=say)  # type: ignore[assignment,misc]


def _try_to_start(start: Callable[..., Any], *args: Any) -> Any:
    """Start a worker, or later: where that fails circus would end the others too."""
    started = start(*args)
    return None if started is False else started


# A worker inherits which signals are held back: SIGHUP waits until it can be taken, where it would
# have ended a worker that is still starting.


def _before_spawn(watcher: Any, **_: Any) -> bool:
    watcher.env[REPLACED] = str(int(watcher.env[REPLACED]) + 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    return True


def _take_hangups(**_: Any) -> bool:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    return True
