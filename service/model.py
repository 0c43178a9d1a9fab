"""The network that is served, with the metadata that `export.metadata` put into its file."""

import base64
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.devices import CUDA, batch_sizes, one_line, open_session, run_bound
from service.errors import ModelError
from service.input_statistics import KEY as INPUT_STATISTICS
from service.input_statistics import InputStatistics
from service.settings import ServiceSettings

logger = logging.getLogger("bentoml.fashion_lenet")

SIDE = 28
INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class GoldenSamples:
    """A few real images, and the logits that every device must find for them."""

    images: NDArray[np.uint8]  # (G, 1, 28, 28)
    logits: NDArray[np.float64]  # (G, K)
    tolerance: float  # largest |difference| of a logit

    @classmethod
    def parse(cls, text: str, classes: int) -> Self:
        """Read the `golden_samples` of a model's metadata.

        Raises:
            ValueError, KeyError, TypeError: it is no such JSON, does not fit the number of
                classes, or could not fail: nothing is further off than an infinite tolerance.
        """
        content = json.loads(text)
        images = np.frombuffer(base64.b64decode(content["images"], validate=True), np.uint8)
        images = images.reshape(-1, 1, SIDE, SIDE)  # (G, 1, 28, 28)
        logits = np.array(content["logits"], np.float64)  # (G, K)
        if len(images) == 0 or logits.shape != (len(images), classes):
            raise ValueError(
                f"it has {len(images)} images and logits of shape {logits.shape}, "
                f"there are {classes} labels"
            )
        if not np.isfinite(logits).all():
            raise ValueError("it has a logit that is no finite number")
        tolerance = float(content["tolerance"])
        if not 0 < tolerance < math.inf:
            raise ValueError(f"its tolerance is {tolerance:g}, a positive finite number is right")
        return cls(images, logits, tolerance)


class Model:
    """A folded network on a device."""

    def __init__(self, session: ort.InferenceSession, sha256: str = "") -> None:
        """Read the metadata of an opened model, and see that it takes and gives what is served.

        Args:
            session: of ONNX Runtime.
            sha256: of the model's file, where there is one.

        Raises:
            ModelError: a piece of metadata is missing or broken, or its inputs or outputs
                are not those that `python -m export` writes.
        """
        self.session = session
        self.sha256 = sha256
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        self.name = _parse(metadata, "name", str)
        self.version = _parse(metadata, "version", str)
        self.labels = _parse(metadata, "labels", _labels)
        classes = len(self.labels)
        self.golden = _parse(
            metadata, "golden_samples", lambda text: GoldenSamples.parse(text, classes)
        )
        self.input_statistics = (  # models exported without them are served too
            _parse(metadata, INPUT_STATISTICS, InputStatistics.parse)
            if INPUT_STATISTICS in metadata
            else None
        )
        _check_signature("input", session.get_inputs(), [f"{INPUT} uint8 (N, 1, {SIDE}, {SIDE})"])
        outputs = [f"{output} float (N, {classes})" for output in (LOGITS, PROBABILITIES)]
        _check_signature("output", session.get_outputs(), outputs)

    @cached_property
    def execution_provider(self) -> str:
        """ONNX Runtime's name for what the session really runs on."""
        return str(self.session.get_providers()[0])

    @cached_property
    def device(self) -> Literal["cpu", "cuda"]:
        """The same in a word."""
        return "cuda" if self.execution_provider == CUDA else "cpu"

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of images (N, 1, 28, 28), 0 being background."""
        return self.infer(images, [PROBABILITIES])[0]  # (N, K)

    def infer(self, images: NDArray[np.uint8], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the outputs named, each (N, K), for images (N, 1, 28, 28), in the order named."""
        if self.device == "cuda":
            return run_bound(self.session, INPUT, images, outputs)
        arrays: list[NDArray[np.float32]] = self.session.run(list(outputs), {INPUT: images})
        return arrays

    def warm_up(self, max_batch: int) -> None:
        """On CUDA, run every size of batch once, so that no request waits for its first run.

        And check it: cuDNN chooses for each size how to compute a convolution, and where it finds
        no other way, with TF32.

        Raises:
            ModelError: as `check`.
        """
        if self.device != "cuda":
            return
        start = time.perf_counter()
        sizes = batch_sizes(max_batch)
        for size in sizes:
            self.check(size)
        logger.info(
            "Batches of 1 to %d images ran and were right, once each size, in %.1f s.",
            sizes[-1],
            time.perf_counter() - start,
        )

    def check(self, size: int | None = None) -> None:
        """Run the golden samples on the device that will serve.

        Args:
            size: of the batch, for which they are repeated or cut; None for as many as they are.

        Raises:
            ModelError: the model cannot be run, or a logit differs from the expected one by
                more than the tolerance.
        """
        order = np.arange(size or len(self.golden.images)) % len(self.golden.images)
        expected = self.golden.logits[order]  # (G, K)
        try:
            logits = self.infer(self.golden.images[order], [LOGITS, PROBABILITIES])[0]  # (G, K)
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise ModelError(
                f"the model cannot be run on {self.execution_provider}: {one_line(error)}"
            ) from error
        if logits.shape != expected.shape:
            raise ModelError(
                f"the model's golden samples come out as logits of shape {logits.shape}, "
                f"{expected.shape} is right"
            )
        worst = float(np.abs(logits - expected).max())
        if not worst <= self.golden.tolerance:  # so that one that is no number fails too
            raise ModelError(
                f"the model's golden samples come out wrong on {self.execution_provider}, in a "
                f"batch of {len(order)}: a logit is off by {worst:.3g}, at most "
                f"{self.golden.tolerance:g} is right"
            )

    def describe(self) -> dict[str, Any]:
        """Say what is served and where, for people and probes."""
        return {
            "model": {"name": self.name, "version": self.version},
            "device": self.device,
            "execution_provider": self.execution_provider,
        }


def load_model(settings: ServiceSettings, content: bytes | None = None) -> Model:
    """Open the model that the settings name, and see that it computes what it should.

    Args:
        settings: the file and the device.
        content: of the file, where it has been read.

    Raises:
        ModelError: the file cannot be read, is no such model, or fails its golden samples.
        DeviceError: the device asked for is not to be had.
    """
    if content is None:
        content = read_model(settings.model)
    model = Model(open_session(content, settings.device), sha256(content))
    model.check()
    return model


def sha256(content: bytes) -> str:
    """Return the digest of a model's file, in hexadecimal digits, as `sha256sum` gives it."""
    return hashlib.sha256(content).hexdigest()


def read_model(path: Path) -> bytes:
    """Return what is in a model's file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; "
            "set FASHION_MODEL to a model.onnx that `python -m export` wrote"
        ) from error


def _parse(metadata: Mapping[str, str], key: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Read one entry of a model's metadata."""
    if key not in metadata:
        raise ModelError(f"the model's metadata has no {key}: `python -m export` writes it")
    try:
        return parse(metadata[key])
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"the model's metadata {key} is not what `python -m export` writes: "
            f"{type(error).__name__}: {error}"
        ) from error


def _labels(text: str) -> tuple[str, ...]:
    labels = json.loads(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"it is {text[:60]!r}, a list of names is right")
    if len(set(labels)) < len(labels):
        raise ValueError(f"two classes have one name: {text[:300]!r}")
    return tuple(labels)


def _check_signature(kind: str, values: Sequence[ort.NodeArg], expected: Sequence[str]) -> None:
    """See that the inputs or outputs of a model are those expected, each `name type (shape)`.

    N stands for an axis of any length.
    """
    found = [
        f"{value.name} {value.type.removeprefix('tensor(').removesuffix(')')} {_shape(value)}"
        for value in values
    ]
    if found != expected:
        raise ModelError(
            f"the model's {kind} is {', '.join(found) or 'missing'}, not {', '.join(expected)}"
        )


def _shape(value: ort.NodeArg) -> str:
    return f"({', '.join(str(n) if isinstance(n, int) else 'N' for n in value.shape)})"
