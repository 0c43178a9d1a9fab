"""Load the versions of a model from its files."""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from service.errors import ModelError
from service.inference.model_versions import ModelVersions
from service.inference.served_model import ServedModel
from service.runtime.onnx_model import load_model
from service.runtime.repository import ModelFile, find_models, read_model, sha256
from service.settings import ServiceSettings

JSON_BYTES = 4  # of one number: three digits and a comma

logger = logging.getLogger("bentoml.fashion_lenet")


class Loaded(NamedTuple):
    """The result of a load."""

    model: ModelVersions
    faults: list[str]  # why versions are not served, or stay as they were
    unchanged: dict[ModelFile, ServedModel]  # whose files have the same content as before


class ModelLoader:
    """Opens, checks and warms up models."""

    def __init__(
        self, settings: ServiceSettings, on_model_failed: Callable[[ModelFile, str], None]
    ) -> None:
        """Load models.

        Args:
            settings: have the models' files and the device.
            on_model_failed: called with a model's file and the reason when it can no longer be run.
        """
        self._settings = settings
        self._on_model_failed = on_model_failed

    def load(self, before: ModelVersions) -> Loaded:
        """Load a model's versions; those whose files have not changed are taken over.

        A version that cannot be served stays as it was before.

        Raises:
            ModelError: the model has no files.
        """
        versions: dict[ModelFile, ServedModel | str] = {}
        unchanged: dict[ModelFile, ServedModel] = {}
        faults = []
        for file in self._files(before.name):
            earlier = before.versions.get(file)
            try:
                content = read_model(file.path)
                if isinstance(earlier, ServedModel) and earlier.model.sha256 == sha256(content):
                    versions[file] = unchanged[file] = earlier
                else:
                    versions[file] = self._open(file, content)
            except ModelError as error:
                versions[file] = earlier if isinstance(earlier, ServedModel) else str(error)
                faults.append(str(error))
        return Loaded(ModelVersions(before.name, versions), faults, unchanged)

    def _files(self, name: str) -> list[ModelFile]:
        settings = self._settings
        if settings.model is not None:
            return [ModelFile(settings.model)]
        files = find_models(settings).get(name)
        if files is None:
            raise ModelError(f"FASHION_MODELS={settings.models} has no model {name!r} any more")
        return files

    def _open(self, file: ModelFile, content: bytes) -> ServedModel:
        settings = self._settings
        model = load_model(settings, file, content)
        logger.info(
            "Model %s %s runs on %s (%s). SHA-256 of %s: %s",
            model.name,
            model.version,
            model.device,
            model.execution_provider,
            file.path,
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
        failed = partial(self._on_model_failed, file)
        return ServedModel(model, settings.max_batch, failed, settings.watch)
