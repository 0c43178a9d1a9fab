"""The interface between the transports and the models: which models are served, and inference.

It does not depend on HTTP or BentoML: routes call it, and so do servers of other protocols.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from service.errors import Forbidden, LoadFailed, ModelError, NotFound, NotReady
from service.inference.model_loader import Loaded, ModelLoader
from service.inference.model_versions import IndexEntry, ModelVersions
from service.inference.reloader import ModelReloader, load_in_time
from service.inference.served_model import ServedModel
from service.inference.worker_group import Action, WorkerGroup
from service.runtime.loading import within_time
from service.runtime.onnx_model import OnnxModel
from service.runtime.repository import ModelFile, default_name, find_models, name_list
from service.settings import ServiceSettings
from service.telemetry.metrics import (
    MODEL_INFO,
    MODEL_LABELS,
    RELOADS,
    start_reload_counters,
)

NOT_LOADED = "not loaded: it was not there when the server started"

logger = logging.getLogger("bentoml.fashion_lenet")


class DataPlane:
    """A worker's models: loads them, replaces them and reports them."""

    def __init__(
        self, settings: ServiceSettings, stopping: Callable[[], str], end: Callable[[], None]
    ) -> None:
        """Load the models; one that fails is not ready, and its reason is reported.

        Args:
            settings: have the models' files and the device.
            stopping: returns why a server that is about to stop is not ready; else an empty text.
            end: ends this worker when a model can no longer be run.
        """
        self.settings = settings
        self.reloading = ModelReloader(self._reload)
        self._stopping = stopping
        self._end = end
        self._loader = ModelLoader(settings, self._on_model_failed)
        self._group = WorkerGroup(self._take_step)
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()
        self._models: dict[str, ModelVersions] = {}
        self._prepared: dict[str, ModelVersions] = {}  # loaded, but not served yet
        # An exception here would make the supervisor restart the worker again and again. Instead
        # it stays, not ready, and reports the reason.
        try:
            models = self._group.models or dict.fromkeys(find_models(settings), True)
            self._default = default_name(settings, models)
        except ModelError as error:
            self._default = ""
            self._models = {"": ModelVersions("", {}, str(error))}
            logger.error("Not ready: %s", error)
        else:
            for name, is_served in models.items():
                if is_served:
                    self._load_at_start(name)
                else:
                    self._models[name] = ModelVersions.unloaded(name)
            self._set_share()

    @property
    def served(self) -> ServedModel:
        """The default model; a request reads it once, and runs it in a `with` block of it.

        Raises:
            NotReady: the model could not be loaded, failed its check, was unloaded, or can no
                longer be run.
        """
        return self._models[self._default].latest

    @property
    def model(self) -> OnnxModel:
        """The default model, without its batcher.

        Raises:
            NotReady: as in `served`.
        """
        return self.served.model

    @property
    def model_or_none(self) -> OnnxModel | None:
        """The default model, for descriptions of it; None if it is not ready."""
        served = self._models[self._default].served
        return served[-1].model if served else None

    @property
    def ready_model(self) -> OnnxModel:
        """The default model, for probes.

        Raises:
            NotReady: as in `served`, or the server is about to stop.
        """
        self.check_running()
        return self.model

    @property
    def names(self) -> list[str]:
        """The names of all models that are served, the default one first."""
        names = sorted(name for name, model in self._models.items() if model.served)
        return sorted(names, key=lambda name: name != self._default)

    def check_running(self) -> None:
        """Check that the server is not about to stop.

        Raises:
            NotReady: it is.
        """
        if reason := self._stopping():
            raise NotReady(reason)

    def check_control(self) -> None:
        """Check that requests may load and unload models.

        Raises:
            Forbidden: the settings do not allow it.
        """
        if not self.settings.model_control:
            raise Forbidden(
                "models are neither loaded nor unloaded by requests: the server's "
                "FASHION_MODEL_CONTROL is not 1"
            )
        if self.settings.model is not None:
            raise Forbidden(
                "the server has FASHION_MODEL, one file that is served alone: models of "
                "FASHION_MODELS can be loaded and unloaded"
            )

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model that are served, the lowest first."""
        return [served.model.version for served in self._models[name].served]

    def named(self, name: str, version: str | None = None) -> ServedModel:
        """Return the model with this name: its highest version, or the one that is given.

        Raises:
            NotFound: the model or the version does not exist.
            NotReady: it is not served; the message says why.
        """
        if name not in self._models:
            if self.settings.model is not None:
                _ = self.served  # only the file, once it is loaded, says its name
            raise self._no_model(name)
        model = self._models[name]
        return model.latest if version is None else model.version(version)

    def selected(self, name: str | None) -> ServedModel:
        """Return the model that a request names, or the default one.

        Raises:
            NotFound, NotReady: as in `named`.
        """
        return self.served if name is None else self.named(name)

    def index(self) -> list[IndexEntry]:
        """Return all models with their versions, also those that are not served."""
        entries = []
        for name in sorted(self._models):
            entries += self._models[name].index()
        if self.settings.model_control:
            entries += [
                IndexEntry(name, "", "UNAVAILABLE", NOT_LOADED)
                for name in self._found()
                if name not in self._models
            ]
        return entries

    async def load(self, name: str) -> None:
        """Have all workers load a model, or a changed one again, and serve it from then on.

        Raises:
            Forbidden: the settings do not allow it.
            NotFound: the model does not exist.
            LoadFailed: a worker cannot serve it; all serve what they served before.
        """
        self.check_control()
        if name not in self._models and name not in self._found():
            raise self._no_model(name)
        try:
            await self._to_the_end(self._group.load(name))
        except ModelError as error:
            raise LoadFailed(f"the model {name!r} cannot be loaded: {error}") from error

    async def unload(self, name: str) -> None:
        """Have all workers serve a model no more; requests in flight finish.

        Raises:
            Forbidden: the settings do not allow it.
            NotFound: the model does not exist.
            LoadFailed: a worker has not unloaded it.
        """
        self.check_control()
        if name not in self._models:
            raise self._no_model(name)
        try:
            await self._to_the_end(self._group.unload(name))
        except ModelError as error:
            raise LoadFailed(f"the model {name!r} cannot be unloaded: {error}") from error

    def install_signal_handlers(self) -> None:
        """Follow the other workers, and reload on SIGHUP, on the running event loop."""
        self._group.install_signal_handlers()
        self.reloading.install_signal_handlers()

    def start(self) -> None:
        """Report the served models to Prometheus; called in a worker only."""
        for model in self._models.values():
            _report(model.served, [])
        if not self.names:
            logger.warning("No model to report to Prometheus.")

    async def close(self) -> None:
        """Finish all waiting requests, and close the models."""
        for model in self._models.values():
            for served in model.served:
                await served.close()

    def _found(self) -> list[str]:
        """Return the names of the models that there are now; none if the folder is gone."""
        with suppress(ModelError):
            return list(find_models(self.settings))
        return []

    def _before(self, name: str) -> ModelVersions:
        return self._models.get(name) or ModelVersions(name, {})

    def _load_at_start(self, name: str) -> None:
        try:
            model, faults, _ = within_time(partial(self._loader.load, self._before(name)))
        except ModelError as error:
            model, faults = ModelVersions(name, {}, str(error)), [str(error)]
        for fault in faults:
            logger.error("Not ready: model %s: %s", name, fault)
        self._models[model.name] = model
        if name == self._default:
            self._default = model.name

    async def _to_the_end(self, change: Coroutine[Any, Any, None]) -> None:
        """Await a change of all workers, which goes on if the request for it is cancelled."""
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

    async def _take_step(self, action: Action, name: str) -> None:
        """Take a step of all workers with a model.

        Raises:
            ModelError: the model cannot be loaded.
        """
        async with self._changing:
            match action:
                case "prepare":
                    self._discard()
                    self._prepared[name] = await self._load_whole(name)
                case "serve":
                    prepared = self._prepared.pop(name, None)
                    self._swap(name, prepared or await self._load_whole(name))
                case "discard":
                    self._discard()
                case "unload":
                    self._discard()
                    self._swap(name, ModelVersions.unloaded(name))
                    logger.info("Model %s is unloaded.", name)

    async def _load_whole(self, name: str) -> ModelVersions:
        """Return a model of which each version can be served.

        Raises:
            ModelError: one cannot.
        """
        loaded = await load_in_time(partial(self._loader.load, self._before(name)))
        if loaded.faults:
            self._retire_unserved(loaded.model)
            raise ModelError(loaded.faults[-1])
        return loaded.model

    def _discard(self) -> None:
        """Close what was prepared."""
        while self._prepared:
            _, model = self._prepared.popitem()
            self._retire_unserved(model)

    def _retire_unserved(self, model: ModelVersions) -> None:
        for served in model.served:
            if served not in self._before(model.name).served:
                served.retire()

    async def _reload(self) -> None:
        """Load all models again but those that were unloaded; one that fails stays as it was."""
        async with self._changing:
            self._discard()  # it may hold versions that are about to be closed
            for name, before in list(self._models.items()):
                if before.is_unloaded:
                    continue
                try:
                    loaded = await load_in_time(partial(self._loader.load, self._before(name)))
                except Exception as error:
                    RELOADS.labels(MODEL_LABELS.find(name), "kept").inc()
                    unexpected = not isinstance(error, ModelError)
                    logger.error("The model is not changed: %s", error, exc_info=unexpected)
                else:
                    self._swap(name, loaded.model)
                    result = _reload_result(before, loaded)
                    RELOADS.labels(MODEL_LABELS.find(name), result).inc()

    def _swap(self, name: str, after: ModelVersions) -> None:
        """Serve other versions of a model from now on; requests in flight finish on theirs."""
        before = self._models.pop(name, None)
        self._models[after.name] = after
        if name == self._default:
            self._default = after.name
        self._set_share()
        gone = [] if before is None else [s for s in before.served if s not in after.served]
        _report(after.served, gone)
        for served in gone:
            served.retire()

    def _set_share(self) -> None:
        """Give each model half of the requests that a worker may have, or all if it is alone."""
        every = [served for model in self._models.values() for served in model.served]
        most = self.settings.max_concurrency
        for served in every:
            served.share = most if len(every) == 1 else max(1, most // 2)

    def _on_model_failed(self, file: ModelFile, reason: str) -> None:
        """End this worker because a model can no longer be run; another replaces it."""
        logger.critical("This worker ends, another takes its place: %s", reason)
        for name, model in list(self._models.items()):
            if file in model.versions:
                self._swap(name, ModelVersions(name, {**model.versions, file: reason}))
        self._end()

    def _no_model(self, name: str) -> NotFound:
        return NotFound(f"there is no model {name[:60]!r}: there is {name_list(self._models)}")


def _report(served: Iterable[ServedModel], gone: Iterable[ServedModel]) -> None:
    """Report to Prometheus which models are served now, and which are no more."""
    for one in served:
        start_reload_counters(one.model.name)
    for value, models in ((0, gone), (1, served)):  # in this order: both may have the same labels
        for model in (one.model for one in models):
            MODEL_INFO.labels(model.name, model.version, model.device).set(value)


def _reload_result(before: ModelVersions, loaded: Loaded) -> str:
    """Log what a reload did; return it as a label of the metric."""
    for fault in loaded.faults:
        logger.error("The model is not changed: %s", fault)
    for file, served in loaded.unchanged.items():
        logger.info(
            "The model is not changed: %s has the same content as before (SHA-256 %s)",
            file.path,
            served.model.sha256,
        )
    if loaded.faults:
        return "kept"
    return "unchanged" if loaded.model.served == before.served else "changed"
