"""Classify image files in this process: threads decode them; batches keep their order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from service.drift.statistics import squared_norms
from service.errors import InputError
from service.inference.results import Classification, classifications
from service.offline.classify_chunk import CPU_BATCH, classify_in_batches, preprocess_or_reason
from service.offline.inputs.image_contents import read_picture
from service.preprocessing.pipeline import MODES, Mode, PreprocessedImage
from service.runtime.onnx_model import OnnxModel
from service.signature import ImageSpec

AHEAD = 2 * CPU_BATCH  # images decoded in advance

Item = TypeVar("Item")
Made = TypeVar("Made")


class Result(NamedTuple):
    """The result for one file."""

    file: str
    answer: Classification | str  # or the reason why there is none


def classify_files(
    model: OnnxModel,
    files: Iterable[str],
    max_pixels: int,
    mode: Mode = "auto",
    top_k: int | None = None,
) -> Iterator[list[Result]]:
    """Classify any number of files, in order, with constant memory.

    Args:
        model: the model.
        files: file names; `-` is standard input.
        max_pixels: the largest width times height that is decoded.
        mode: how a picture becomes the model's image; see `preprocess`.
        top_k: number of classes in an answer, the most probable first; None for all.

    Yields:
        The results of up to 64 files.
    """

    def see(file: str) -> tuple[str, PreprocessedImage | str]:
        return file, _see(file, max_pixels, model.signature.image, mode)

    pictures = _in_threads(see, files)
    while batch := list(islice(pictures, CPU_BATCH)):
        yield _classify(model, batch, top_k)


def check_options(model: OnnxModel, mode: Mode, top_k: int | None) -> None:
    """Check that the model has at least `top_k` classes, and a pipeline with this mode.

    Raises:
        InputError: it has not.
    """
    if top_k is not None and top_k > len(model.labels):
        raise InputError(f"--top-k {top_k}: the model has {len(model.labels)} classes")
    pipeline = model.signature.image.pipeline
    if mode not in MODES[pipeline]:
        modes = " or ".join(MODES[pipeline])
        raise InputError(f"--mode {mode}: the model's pipeline is {pipeline}, expected {modes}")


def _see(file: str, max_pixels: int, spec: ImageSpec, mode: Mode) -> PreprocessedImage | str:
    """Return the decoded file, or the reason why it cannot be decoded."""
    return preprocess_or_reason(read_picture(file), max_pixels, spec, mode)


def _classify(
    model: OnnxModel, batch: Sequence[tuple[str, PreprocessedImage | str]], top_k: int | None
) -> list[Result]:
    """Classify the decoded images of a batch together."""
    seen = [picture for _, picture in batch if not isinstance(picture, str)]
    answers = iter(_answers(model, seen, top_k) if seen else ())
    return [
        Result(file, picture if isinstance(picture, str) else next(answers))
        for file, picture in batch
    ]


def _answers(
    model: OnnxModel, seen: Sequence[PreprocessedImage], top_k: int | None
) -> list[Classification]:
    images = np.stack([pixels for pixels, _ in seen])  # (N, C, H, W)
    preprocessings = [preprocessing for _, preprocessing in seen]
    statistics = model.input_statistics
    shifts = squared_norms(statistics.whitened(images)).tolist() if statistics else None  # N
    probabilities = classify_in_batches(model, images)  # (N, K)
    return classifications(model, images, probabilities, preprocessings, shifts, top_k)


def _in_threads(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Apply `make` to each item in threads; yield in order, a bounded number in advance."""
    waiting: deque[Future[Made]] = deque()
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        for item in items:
            waiting.append(threads.submit(make, item))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
