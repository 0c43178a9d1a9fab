"""The interface between the transports and the model: which model is served, and inference.

It does not depend on HTTP or BentoML: routes call it, and so could a server of another protocol.
"""

import logging
from collections.abc import Callable

from service.errors import ModelError, NotFound, NotReady
from service.inference.reloader import ModelReloader
from service.inference.served_model import ServedModel
from service.runtime.loading import within_time
from service.runtime.onnx_model import OnnxModel, load_model, read_model, sha256
from service.settings import ServiceSettings
from service.telemetry.metrics import ModelLabels, set_model_info

JSON_BYTES = 4  # of one number: three digits and a comma

logger = logging.getLogger("bentoml.fashion_lenet")


class DataPlane:
    """A worker's model: loads it, replaces it and reports it."""

    def __init__(
        self, settings: ServiceSettings, stopping: Callable[[], str], end: Callable[[], None]
    ) -> None:
        """Load the model; if that fails, the worker stays not ready and reports the reason.

        Args:
            settings: have the model's file and the device.
            stopping: returns why a server that is about to stop is not ready; else an empty text.
            end: ends this worker when its model can no longer be run.
        """
        self.settings = settings
        self.not_ready_reason = ""
        self.reloading = ModelReloader(self._load, self._swap_model)
        self._stopping = stopping
        self._end = end
        self._served: ServedModel | None = None
        try:
            self._served = within_time(self._load)
        except ModelError as error:
            # An exception here would make the supervisor restart the worker again and again.
            # Instead it stays, not ready, and reports the reason.
            self.not_ready_reason = str(error)
            logger.error("Not ready: %s", error)

    @property
    def served(self) -> ServedModel:
        """The served model; a request reads it once, and runs it in a `with` block of it.

        Raises:
            NotReady: the model could not be loaded, failed its check, or can no longer be run.
        """
        if self._served is None:
            raise NotReady(self.not_ready_reason)
        return self._served

    @property
    def model(self) -> OnnxModel:
        """The served model, without its batcher.

        Raises:
            NotReady: there is no model.
        """
        return self.served.model

    @property
    def model_or_none(self) -> OnnxModel | None:
        """The served model, for descriptions of it; None if there is none."""
        return None if self._served is None else self._served.model

    @property
    def ready_model(self) -> OnnxModel:
        """The served model, for probes.

        Raises:
            NotReady: there is no model, or the server is about to stop.
        """
        if reason := self._stopping():
            raise NotReady(reason)
        return self.model

    def named(self, name: str, version: str | None = None) -> ServedModel:
        """Return the model with this name, and this version if one is given.

        Raises:
            NotFound: there is no such model.
            NotReady: the model could not be loaded.
        """
        served = self.served
        model = served.model
        if name != model.name:
            raise NotFound(f"there is no model {name[:60]!r}: there is {model.name!r}")
        if version is not None and version != model.version:
            raise NotFound(
                f"there is no version {version[:60]!r} of {model.name}: there is {model.version!r}"
            )
        return served

    def start(self) -> None:
        """Report the served model to Prometheus; called in a worker only."""
        try:
            self._report()
        except NotReady:
            logger.warning("No model to report to Prometheus.")

    async def close(self) -> None:
        """Finish all waiting requests, and close the model."""
        if self._served is not None:
            await self._served.close()

    def _load(self) -> ServedModel | None:
        """Return the model loaded from its file; None if the file has not changed."""
        settings = self.settings
        content = read_model(settings.model)
        if self._served is not None and sha256(content) == self._served.model.sha256:
            logger.info(
                "The model is not changed: %s has the same content as before (SHA-256 %s)",
                settings.model,
                self._served.model.sha256,
            )
            return None
        model = load_model(settings, content)
        logger.info(
            "Model %s %s runs on %s (%s). SHA-256 of %s: %s",
            model.name,
            model.version,
            model.device,
            model.execution_provider,
            settings.model,
            model.sha256,
        )
        numbers = JSON_BYTES * model.signature.image.bytes
        if numbers > settings.max_body_bytes:
            logger.warning(
                "One image as JSON may take %s bytes, FASHION_MAX_BODY_BYTES allows %s.",
                f"{numbers:,}",
                f"{settings.max_body_bytes:,}",
            )
        if settings.watch and model.input_statistics is None:
            logger.info("The model has no input statistics: the input is not monitored.")
        return ServedModel(model, settings.max_batch, self._on_model_failed, settings.watch)

    def _swap_model(self, served: ServedModel) -> None:
        """Serve another model from now on; requests in flight finish on the one before."""
        before, self._served = self._served, served
        self._report(None if before is None else before.model)
        if before is not None:
            before.retire()

    def _report(self, before: OnnxModel | None = None) -> None:
        labels = [ModelLabels(m.name, m.version, m.device) for m in (self.model, before) if m]
        set_model_info(*labels)

    def _on_model_failed(self, reason: str) -> None:
        """End this worker because its model can no longer be run; another replaces it."""
        logger.critical("This worker ends, another takes its place: %s", reason)
        failed, self._served, self.not_ready_reason = self._served, None, reason
        if failed is not None:  # two requests can fail at once
            failed.retire()
        self._end()
