"""The network that is served, with the metadata that `export.metadata` put into its file."""

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.devices import CUDA, open_session
from service.errors import ModelError
from service.settings import ServiceSettings

logger = logging.getLogger("bentoml.fashion_lenet")

SIDE = 28
INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"


@dataclass(frozen=True)
class GoldenSamples:
    """A few real images, and the logits that every device must find for them."""

    images: NDArray[np.uint8]  # (G, 1, 28, 28)
    logits: NDArray[np.float64]  # (G, K)
    tolerance: float  # largest |difference| of a logit

    @classmethod
    def parse(cls, text: str, classes: int) -> Self:
        """Read the `golden_samples` of a model's metadata."""
        content = json.loads(text)
        images = np.frombuffer(base64.b64decode(content["images"], validate=True), np.uint8)
        images = images.reshape(-1, 1, SIDE, SIDE)  # (G, 1, 28, 28)
        logits = np.array(content["logits"], np.float64)  # (G, K)
        if len(images) == 0 or logits.shape != (len(images), classes):
            raise ValueError(
                f"golden_samples has {len(images)} images and logits of shape {logits.shape}, "
                f"there are {classes} labels"
            )
        return cls(images, logits, float(content["tolerance"]))


class Model:
    """A folded network on a device."""

    def __init__(self, session: ort.InferenceSession) -> None:
        """Read the metadata of an opened model.

        Raises:
            ModelError: a piece of metadata is missing or broken.
        """
        self.session = session
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        try:
            self.name = metadata["name"]
            self.version = metadata["version"]
            self.labels: tuple[str, ...] = tuple(json.loads(metadata["labels"]))
            self.golden = GoldenSamples.parse(metadata["golden_samples"], len(self.labels))
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"the model's metadata is not what `python -m export` writes: "
                f"{type(error).__name__} {error}"
            ) from error

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name for what the session really runs on."""
        return str(self.session.get_providers()[0])

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """The same in a word."""
        return "cuda" if self.execution_provider == CUDA else "cpu"

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of images (N, 1, 28, 28), 0 being background."""
        probabilities: NDArray[np.float32] = self.session.run([PROBABILITIES], {INPUT: images})[0]
        return probabilities  # (N, K)

    def check(self) -> None:
        """Run the golden samples on the device that will serve.

        Raises:
            ModelError: a logit differs from the expected one by more than the tolerance.
        """
        logits = self.session.run([LOGITS], {INPUT: self.golden.images})[0]  # (G, K)
        if logits.shape != self.golden.logits.shape:
            raise ModelError(
                f"the model tells {logits.shape[1]} classes apart, and its metadata names "
                f"{len(self.labels)}"
            )
        error = float(np.abs(logits - self.golden.logits).max())
        if not error <= self.golden.tolerance:  # so that an error that is no number fails too
            raise ModelError(
                f"the model's golden samples come out wrong on {self.execution_provider}: a logit "
                f"is off by {error:.3g}, at most {self.golden.tolerance:g} is right"
            )

    def describe(self) -> dict[str, Any]:
        """Say what is served and where, for people and probes."""
        return {
            "model": {"name": self.name, "version": self.version},
            "device": self.device,
            "execution_provider": self.execution_provider,
        }


def load_model(settings: ServiceSettings) -> Model:
    """Open the model that the settings name, and see that it computes what it should.

    Raises:
        ModelError: the file cannot be read, is no such model, or fails its golden samples.
        DeviceError: the device asked for is not to be had.
    """
    try:
        content = settings.model.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {settings.model}: {error.strerror}; "
            "set FASHION_MODEL to a model.onnx that `python -m export` wrote"
        ) from error
    model = Model(open_session(content, settings.device))
    model.check()
    logger.info(
        "Model %s %s runs on %s (%s).",
        model.name,
        model.version,
        model.device,
        model.execution_provider,
    )
    return model
