"""Agreement of a server's workers on the models that they all serve.

A worker that is asked to load or unload a model takes the lock of the server's folder, writes each
step into a file there, and has the supervisor signal all workers. Each worker takes the step and
reports it in a file of its own. A load has two steps: all workers prepare the model, and serve it
once all of them have; if one cannot, all discard it. A worker that starts later reads which models
are served.
"""

import asyncio
import atexit
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import psutil  # type: ignore[import-untyped]

from service.errors import ModelError
from service.runtime.loading import LOAD_SECONDS

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("bentoml.fashion_lenet")

FOLDER = "LENET_MODELS"  # variable with the folder's path
STEP, LOCK, REPORTS = "step.json", "lock", "*.report.json"
POLL_SECONDS = 0.02
MOST_SECONDS = 2 * LOAD_SECONDS  # for all workers to take a step

Action = Literal["start", "prepare", "serve", "discard", "unload"]


class Step(NamedTuple):
    """What all workers do next."""

    number: int  # of the step since the server started
    action: Action
    model: str
    models: dict[str, bool]  # of a worker that starts now: whether it serves them


def create(folder: Path, names: Iterable[str]) -> None:
    """In the parent: make the folder for workers that start from now on, which serve the names.

    Where it cannot be written, the system's temporary folder has it.

    Raises:
        OSError: that cannot be written either.
    """
    step = Step(0, "start", "", dict.fromkeys(names, True))
    try:
        folder.mkdir()
        _write(folder / STEP, step)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="fashion-lenet-models-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _write(folder / STEP, step)
    os.environ[FOLDER] = str(folder)


class WorkerGroup:
    """The workers of this server, or this process alone where there is no folder."""

    def __init__(self, take: Callable[[Action, str], Awaitable[None]]) -> None:
        """Join the workers.

        Args:
            take: takes a step with a model in this worker.
        """
        self._take = take
        self._folder = Path(os.environ[FOLDER]) if FOLDER in os.environ else None
        self._taken = Step(-1, "start", "", {})
        self._report("")  # before the step is read, so that the others wait for this worker
        self._taken = self._step()
        self._following: asyncio.Task[None] | None = None

    @property
    def models(self) -> dict[str, bool]:
        """Whether this worker serves each model, as it starts; empty: all that there are."""
        return self._taken.models

    def install_signal_handlers(self) -> None:
        """Follow the other workers from now on, on the running event loop."""
        if sys.platform != "win32" and self._folder is not None:
            self._report("")
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._follow)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    async def load(self, name: str) -> None:
        """Have all workers load a model, and serve it if all of them can.

        Raises:
            ModelError: a worker cannot.
        """
        async with self._alone():
            try:
                await self._everywhere("prepare", name)
            except ModelError:
                await self._everywhere("discard", name)
                raise
            await self._everywhere("serve", name, {name: True})

    async def unload(self, name: str) -> None:
        """Have all workers serve a model no more.

        Raises:
            ModelError: a worker has not.
        """
        async with self._alone():
            await self._everywhere("unload", name, {name: False})

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait until no other request changes the models."""
        if self._folder is None:
            yield
            return
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(descriptor):
                await asyncio.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    async def _everywhere(
        self, action: Action, name: str, changed: Mapping[str, bool] = MappingProxyType({})
    ) -> None:
        """Have all workers take a step, and those that start later serve what has changed.

        Raises:
            ModelError: a worker cannot, or not in time, or the disk is full.
        """
        if self._folder is None:
            await self._take(action, name)
            return
        before = self._step()
        step = Step(before.number + 1, action, name, {**before.models, **changed})
        try:
            _write(self._folder / STEP, step)
        except OSError as error:
            raise ModelError(f"the workers cannot be told: {error}") from error
        os.kill(os.getppid(), signal.SIGUSR1)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                while (reports := self._reports()) and min(reports)[0] < step.number:
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ModelError(f"a worker has not answered after {MOST_SECONDS:g} s") from None
        if reasons := [reason for _, reason in reports if reason]:
            raise ModelError(reasons[0])

    def _reports(self) -> list[tuple[int, str]]:
        """Return each worker's last step and, if it failed, the reason."""
        found = []
        for path in self._folder.glob(REPORTS) if self._folder else ():
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(int(path.name.partition(".")[0])).ppid() == os.getppid():
                    number, reason = json.loads(path.read_bytes())
                    found.append((number, reason))
        return found

    def _follow(self) -> None:
        """Take the step that was written last, after the one that is being taken."""
        self._following = asyncio.get_running_loop().create_task(self._take_next(self._following))

    async def _take_next(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        step = self._step()
        if step.number == self._taken.number:
            return
        self._taken = step
        reason = ""
        try:
            await self._take(step.action, step.model)
        except Exception as error:
            reason = str(error) or repr(error)
            if not isinstance(error, ModelError):
                logger.exception("A step with the model %s failed:", step.model)
        self._report(reason)

    def _report(self, reason: str) -> None:
        """Tell the other workers that the last step is taken, or why not."""
        if self._folder is not None:
            path = self._folder / REPORTS.replace("*", str(os.getpid()))
            try:
                _write(path, (self._taken.number, reason))
            except OSError as error:  # a worker serves even if the disk is full
                logger.warning("Other workers cannot be told of models: %s", error)

    def _step(self) -> Step:
        if self._folder is None:
            return Step(0, "start", "", {})
        return Step(*json.loads((self._folder / STEP).read_bytes()))


def _write(path: Path, content: Any) -> None:
    """Write JSON into a file that other processes see either before or after."""
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(content))
    new.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
