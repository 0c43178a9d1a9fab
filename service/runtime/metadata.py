"""The metadata that `export.metadata` writes into a model's file, read as untrusted input.

All of it appears in responses, in metrics or in the log, so names with invisible characters are
refused.
"""

import base64
import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.drift.statistics import IMAGE_SHAPE, InputStatistics
from service.drift.statistics import METADATA_KEY as INPUT_STATISTICS
from service.errors import ModelError
from service.runtime.signature import check_outputs, image_shape
from service.signature import ImageSpec, ModelSignature

LONGEST_TEXT = 2**22  # characters of one metadata entry; the released model's have up to 13,000
LONGEST_SAMPLES = 2**26  # characters of the golden samples, which have pixels of any number
FEWEST_LABELS = 2
PREPROCESSING, GOLDEN_SAMPLES = "preprocessing", "golden_samples"
LONGEST_NAME = 200  # characters
MOST_SAMPLES = 1000

# With a tolerance above this share of the largest logit, a different network would pass the check.
LARGEST_TOLERANCE = 0.01

# Control and format characters and line separators are invisible; joiners are parts of words.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class GoldenSamples:
    """A few real images, and the logits that every device must compute for them."""

    images: NDArray[np.uint8]  # (G, C, H, W)
    logits: NDArray[np.float64]  # (G, K)
    tolerance: float  # largest |difference| of a logit

    @classmethod
    def parse(cls, text: str, signature: ModelSignature) -> Self:
        """Return the `golden_samples` of a model's metadata.

        Raises:
            ValueError, LookupError, TypeError, ArithmeticError: the text is not such JSON, does not
                fit the model's images and classes, or has a tolerance with which the check could
                hardly fail.
        """
        content = json.loads(text)
        pixels = np.frombuffer(base64.b64decode(content["images"], validate=True), np.uint8)
        images = pixels.reshape(-1, *signature.image.shape)  # (G, C, H, W)
        classes = len(signature.labels)
        logits = np.array(content["logits"], np.float64)  # (G, K)
        if not 0 < len(images) <= MOST_SAMPLES or logits.shape != (len(images), classes):
            raise ValueError(
                f"it has {len(images)} images and logits of shape {logits.shape}, "
                f"there are {classes} labels"
            )
        if not np.isfinite(logits).all():
            raise ValueError("it has a logit that is not a finite number")
        tolerance = float(content["tolerance"])
        most = LARGEST_TOLERANCE * float(np.abs(logits).max())
        if not 0 < tolerance <= most:
            raise ValueError(
                f"its tolerance: expected a positive number of at most {most:.3g}, "
                f"got {tolerance:g}"
            )
        return cls(images, logits, tolerance)


@dataclass(frozen=True)
class ModelMetadata:
    """All of a served model except the network."""

    name: str
    version: str
    signature: ModelSignature
    golden: GoldenSamples
    input_statistics: InputStatistics | None  # models exported without them are served too

    @classmethod
    def read(cls, session: ort.InferenceSession) -> Self:
        """Return the metadata of an opened model.

        Raises:
            ModelError: an entry is missing, or is not as `python -m export` writes it; or the
                inputs or outputs are not those of a classifier of images.
        """
        try:
            metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelError(f"the model's metadata is not UTF-8: {error}") from error
        name, version = (_parse(metadata, key, _shown) for key in ("name", "version"))
        labels = _parse(metadata, "labels", _labels)
        shape = image_shape(session)
        check_outputs(session, len(labels))
        image = ImageSpec.parse(shape, None)
        if PREPROCESSING in metadata:  # models exported without it are served too
            image = _parse(metadata, PREPROCESSING, lambda text: ImageSpec.parse(shape, text))
        signature = ModelSignature(image, labels)
        golden = _parse(
            metadata,
            GOLDEN_SAMPLES,
            lambda text: GoldenSamples.parse(text, signature),
            LONGEST_SAMPLES,
        )
        statistics = None
        if INPUT_STATISTICS in metadata:
            images = golden.images
            statistics = _parse(metadata, INPUT_STATISTICS, lambda text: _statistics(text, images))
        return cls(name, version, signature, golden, statistics)


def _parse(
    metadata: Mapping[str, str],
    key: str,
    parse: Callable[[str], Parsed],
    longest: int = LONGEST_TEXT,
) -> Parsed:
    """Return one entry of a model's metadata, of at most `longest` characters, parsed."""
    if key not in metadata:
        raise ModelError(f"the model's metadata has no {key}: `python -m export` writes it")
    text = metadata[key]
    try:
        if len(text) > longest:
            raise ValueError(f"expected at most {longest:,} characters, got {len(text):,}")
        # By default NumPy only warns of overflow and invalid values.
        with np.errstate(over="raise", invalid="raise"):
            return parse(text)
    except (LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise ModelError(
            f"the model's metadata {key} is not what `python -m export` writes: "
            f"{type(error).__name__}: {error}"
        ) from error


def _statistics(text: str, images: NDArray[np.uint8]) -> InputStatistics:
    """Return input statistics that give finite values for images (G, C, H, W)."""
    statistics = InputStatistics.parse(text)
    if images.shape[1:] != IMAGE_SHAPE:
        raise ValueError(
            f"they are of images of shape {IMAGE_SHAPE}, the model's have {images.shape[1:]}"
        )
    whitened = statistics.whitened(images)  # (G, 3C)
    means = statistics.channel_means(whitened.mean(axis=0, dtype=np.float64))  # (C,)
    if not (np.isfinite(whitened).all() and np.isfinite(means).all()):
        raise ValueError("a value computed from them for the golden samples is not finite")
    return statistics


def _labels(text: str) -> tuple[str, ...]:
    labels = json.loads(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"expected a list of names, got {text[:60]!r}")
    if len(labels) < FEWEST_LABELS:
        raise ValueError(f"expected at least {FEWEST_LABELS} names, got {len(labels)}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"two classes have the same name: {text[:300]!r}")
    return tuple(map(_shown, labels))


def _shown(name: str) -> str:
    """Return a name, if all its characters are visible and it is not too long."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(
            f"expected a name of 1 to {LONGEST_NAME} characters, got {len(name):,}: {name[:60]!r}"
        )
    for character in name:
        if unicodedata.category(character) in UNSEEN and character not in JOINERS:
            raise ValueError(f"it has {character!r} in a name, which is not visible: {name!r}")
    return name
