"""The work that every engine does on one chunk: classify its images and encode the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.drift.report import explain_outliers
from service.errors import RequestError
from service.offline.inputs.types import ImageBatch, Pictures, display_name
from service.preprocessing.opening import open_image
from service.preprocessing.pipeline import (
    PLAIN,
    Mode,
    PreprocessedImage,
    Preprocessing,
    preprocess,
    preprocess_fast_path,
)
from service.runtime.onnx_model import OnnxModel
from service.runtime.repository import ModelFile
from service.signature import ImageSpec

CPU_BATCH = 64  # images per run of the network; more are not faster
CUDA_BATCH = 1024
SCORED_AT_ONCE = 32  # images at a time; the fastest size for the drift check on one thread


class ChunkResult(NamedTuple):
    """The results of a chunk: one row per name, in the same order."""

    names: Sequence[str]
    errors: Mapping[int, str]  # row index to the reason why it has no answer
    # For the rows with an answer, in the same order:
    probabilities: NDArray[np.float32]  # (M, K)
    preprocessing: Sequence[Preprocessing]
    shifts: NDArray[np.float64] | None  # (M,); None if inputs are not scored
    hints: Mapping[int, str]  # answer index to the hint, only for unusual images


class RowEncoder(Protocol):
    """Encodes rows for a result file; can be sent to another machine."""

    def encode(self, model: OnnxModel, rows: ChunkResult) -> bytes:
        """Return the rows as bytes for the result file."""


@dataclass(frozen=True)
class ClassifyOptions:
    """The options that apply to all images."""

    encoder: RowEncoder
    max_pixels: int
    mode: Mode = "auto"
    watch: bool = True
    file: ModelFile | None = None  # with the model's name and version


class EncodedRows(NamedTuple):
    """Encoded rows, ready to be written."""

    rows: int
    errors: int
    content: bytes


def classify_batch(model: OnnxModel, batch: ImageBatch, options: ClassifyOptions) -> EncodedRows:
    """Classify a batch of images and return one encoded row per image."""
    spec = model.signature.image
    preprocessed, errors = _preprocess_all(batch.pictures, options, spec)
    images, preprocessing = _stack(preprocessed, spec)
    scores = _score(model, images) if options.watch else (None, {})
    probabilities = classify_in_batches(model, images)  # (M, K)
    rows = ChunkResult(batch.names, errors, probabilities, preprocessing, *scores)
    return EncodedRows(len(batch.names), len(errors), options.encoder.encode(model, rows))


Images = NDArray[np.uint8]


def _preprocess_all(
    pictures: Pictures, options: ClassifyOptions, spec: ImageSpec
) -> tuple[Images | list[PreprocessedImage], dict[int, str]]:
    if isinstance(pictures, np.ndarray):
        return pictures, {}
    preprocessed, errors = [], {}
    for row, picture in enumerate(pictures):
        found = preprocess_or_reason(picture, options.max_pixels, spec, options.mode)
        if isinstance(found, str):
            errors[row] = display_name(found)
        else:
            preprocessed.append(found)
    return preprocessed, errors


def preprocess_or_reason(
    picture: Images | bytes | str, max_pixels: int, spec: ImageSpec, mode: Mode
) -> PreprocessedImage | str:
    """Return the decoded image, or the reason why it cannot be decoded.

    An image (C, H, W) or a reason is returned unchanged.
    """
    if isinstance(picture, np.ndarray):
        return PreprocessedImage(picture, PLAIN[spec.pipeline])
    if isinstance(picture, str):
        return picture
    try:
        return preprocess_fast_path(picture, spec, mode) or preprocess(
            open_image(picture, max_pixels), spec, mode
        )
    except RequestError as error:
        return str(error)


def _stack(
    preprocessed: Images | list[PreprocessedImage], spec: ImageSpec
) -> tuple[Images, Sequence[Preprocessing]]:
    """Return images (M, C, H, W) and the preprocessing of each."""
    if isinstance(preprocessed, np.ndarray):
        return preprocessed, [PLAIN[spec.pipeline]] * len(preprocessed)
    images = np.zeros((len(preprocessed), *spec.shape), np.uint8)  # (M, C, H, W)
    for image, (pixels, _) in zip(images, preprocessed, strict=True):
        image[:] = pixels
    return images, [preprocessing for _, preprocessing in preprocessed]


def classify_in_batches(model: OnnxModel, images: Images) -> NDArray[np.float32]:
    """Return the probabilities (M, K) of images (M, C, H, W), in runs that the memory allows."""
    size = model.batch_size(CPU_BATCH if model.device == "cpu" else CUDA_BATCH)
    runs = [model.classify(images[i : i + size]) for i in range(0, len(images), size)]
    return np.concatenate([np.zeros((0, len(model.labels)), np.float32), *runs])  # (M, K)


def _score(
    model: OnnxModel, images: Images
) -> tuple[NDArray[np.float64] | None, Mapping[int, str]]:
    """Return each image's distance from the training set, (M,), and hints for unusual images."""
    statistics = model.input_statistics
    if statistics is None or not len(images):
        return None, {}
    shifts = statistics.mahalanobis_distances(images, SCORED_AT_ONCE).astype(np.float64)  # (M,)
    unusual = np.flatnonzero(shifts > 1)
    found = explain_outliers(statistics, images[unusual, 0])
    return shifts.round(3), dict(zip(unusual.tolist(), found, strict=True))
