"""The served network, with the metadata that `export.metadata` wrote into its file."""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import inf
from pathlib import Path
from threading import Timer
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import ModelError
from service.runtime.metadata import ModelMetadata
from service.runtime.onnx_session import (
    CUDA,
    bucket_sizes,
    create_session,
    one_line,
    run_with_io_binding,
)
from service.runtime.processors import processors
from service.runtime.signature import INPUT, LOGITS, PROBABILITIES
from service.settings import Device, ServiceSettings

logger = logging.getLogger("bentoml.fashion_lenet")

MOST_BYTES = 2**31 - 1  # of a file: protobuf's own limit; the released model has 200,000
# Of images in one run: a network needs up to a thousand times as much memory, and on the CPU is no
# faster with more. The released model's batches are limited by their number alone.
BATCH_BYTES = {"cpu": 2**20, "cuda": 2**24}
# A run this short is not worth another thread, of ONNX Runtime or ours: the released model takes
# 36 us for an image. A longer run is tried with several threads, which have to save a tenth.
SHORT_SECONDS = 0.0005
MEASURED_RUNS = 3
GAIN = 0.9
CHECK_SECONDS = 30.0  # for the golden samples


class OnnxModel:
    """A folded network on a device."""

    def __init__(self, session: ort.InferenceSession, sha256: str = "") -> None:
        """Read the metadata of an opened model, and check its inputs and outputs.

        Args:
            session: of ONNX Runtime.
            sha256: of the model's file, if there is one.

        Raises:
            ModelError: a metadata entry is missing or broken, or the inputs or outputs are not
                as `python -m export` writes them.
        """
        self.session = session
        self.sha256 = sha256
        metadata = ModelMetadata.read(session)
        self.name, self.version, self.signature = (
            metadata.name,
            metadata.version,
            metadata.signature,
        )
        self.labels = metadata.signature.labels
        self.golden, self.input_statistics = metadata.golden, metadata.input_statistics

    def close(self) -> None:
        """Free the memory of the session; the model cannot be run afterwards."""
        del self.session

    @cached_property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of the provider that the session really uses."""
        return str(self.session.get_providers()[0])

    @cached_property
    def device(self) -> Literal["cpu", "cuda"]:
        """The device of that provider."""
        return "cuda" if self.execution_provider == CUDA else "cpu"

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of images (N, C, H, W)."""
        return self.infer(images, [PROBABILITIES])[0]  # (N, K)

    def infer(
        self,
        images: NDArray[np.uint8],
        outputs: Sequence[str],
        options: ort.RunOptions | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the named outputs, each (N, K), for images (N, C, H, W), in the given order."""
        if self.device == "cuda":
            return run_with_io_binding(self.session, INPUT, images, outputs, options)
        feed = {INPUT: images}
        arrays: list[NDArray[np.float32]] = self.session.run(list(outputs), feed, options)
        return arrays

    @cached_property
    def seconds(self) -> float:
        """The time for one image alone: the least of a few runs, or the first one that is short.

        Raises:
            ModelError: the model cannot be run.
        """
        least = inf
        for _ in range(MEASURED_RUNS):
            least = min(least, self._try_to_run(self.golden.images[:1])[1])
            if least <= SHORT_SECONDS:
                break
        return least

    def batch_size(self, most: int) -> int:
        """Return how many images to run at once: at most so many, fewer if they are large."""
        size = BATCH_BYTES[self.device] // self.signature.image.bytes
        return max(1, min(most, size))

    def warm_up(self, max_batch: int) -> None:
        """Run and check every batch size once on CUDA, so that no request waits for a first run.

        cuDNN chooses for each size how to compute a convolution; if it finds no other way, it uses
        TF32. So each size is checked.

        Raises:
            ModelError: as in `check`.
        """
        if self.device != "cuda":
            return
        start = time.perf_counter()
        sizes = bucket_sizes(max_batch)
        for size in sizes:
            self.check(size)
        logger.info(
            "Batches of 1 to %d images, once each size, ran and passed the check in %.1f s.",
            sizes[-1],
            time.perf_counter() - start,
        )

    def check(self, size: int | None = None) -> None:
        """Run the golden samples on the serving device.

        Args:
            size: of the batch, to which they are repeated or cut; None for their own number.

        Raises:
            ModelError: the model cannot be run, or a logit differs from the expected one by
                more than the tolerance.
        """
        order = np.arange(size or len(self.golden.images)) % len(self.golden.images)
        expected = self.golden.logits[order]  # (G, K)
        images = self.golden.images[order]  # (G, C, H, W)
        logits, _ = self._try_to_run(images)  # (G, K)
        if logits.shape != expected.shape:
            raise ModelError(
                f"the logits of the model's golden samples: expected shape {expected.shape}, got "
                f"{logits.shape}"
            )
        worst = float(np.abs(logits - expected).max())
        if not worst <= self.golden.tolerance:  # NaN fails too
            raise ModelError(
                f"the model's golden samples come out wrong on {self.execution_provider}, in a "
                f"batch of {len(order)}: a logit is off by {worst:.3g}, expected at most "
                f"{self.golden.tolerance:g}"
            )

    def _try_to_run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Return the logits (N, K) of images (N, C, H, W), and the seconds that the run took.

        Raises:
            ModelError: the model cannot be run, or not in time.
        """
        try:
            with _ended_after(CHECK_SECONDS) as options:
                start = time.perf_counter()
                logits = self.infer(images, [LOGITS, PROBABILITIES], options)[0]  # (N, K)
                return logits, time.perf_counter() - start
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise ModelError(
                f"the model cannot be run on {self.execution_provider}: {one_line(error)}"
            ) from error

    def describe(self) -> dict[str, Any]:
        """Return the model's name and version and its device, for people and probes."""
        return {
            "model": {"name": self.name, "version": self.version},
            "device": self.device,
            "execution_provider": self.execution_provider,
        }


def load_model(settings: ServiceSettings, content: bytes | None = None) -> OnnxModel:
    """Return the model of the settings, checked with its golden samples.

    On the CPU a model that takes long is run with as many threads as there are processors for each
    worker, if that is faster and the settings do not say how many.

    Args:
        settings: have the file, the device, the threads and the number of workers.
        content: of the file, if it has been read already.

    Raises:
        ModelError: the file cannot be read, is not such a model, or fails its golden samples.
        DeviceError: the requested device is not available.
    """
    if content is None:
        content = read_model(settings.model)
    model = _checked(content, settings.device, settings.threads or 1)
    several = processors() // settings.workers
    if settings.threads or model.device == "cuda" or model.seconds <= SHORT_SECONDS or several < 2:
        return model
    with_several = _checked(content, settings.device, several)
    logger.info(
        "An image takes %.1f ms with one thread of ONNX Runtime, %.1f ms with %d.",
        1000 * model.seconds,
        1000 * with_several.seconds,
        several,
    )
    if with_several.seconds <= GAIN * model.seconds:
        model, with_several = with_several, model
    with_several.close()
    return model


def _checked(content: bytes, device: Device, threads: int) -> OnnxModel:
    model = OnnxModel(create_session(content, device, threads), sha256(content))
    model.check()
    return model


@contextmanager
def _ended_after(seconds: float) -> Iterator[ort.RunOptions]:
    """Yield options that end a longer run with an error, for example an endless loop."""
    options = ort.RunOptions()
    timer = Timer(seconds, setattr, (options, "terminate", True))
    timer.start()
    try:
        yield options
    except Exception as error:
        if options.terminate:
            raise TimeoutError(f"it was not done after {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
        timer.join()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a model's file in hexadecimal digits, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def read_model(path: Path) -> bytes:
    """Return the bytes of a model's file.

    Raises:
        ModelError: the file cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"the model {path} is not a regular file")
            if status.st_size > MOST_BYTES:
                raise ModelError(
                    f"the model {path} has {status.st_size:,} bytes, {MOST_BYTES:,} are the limit"
                )
            return file.read(status.st_size)
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; "
            "set FASHION_MODEL to a model.onnx that `python -m export` wrote"
        ) from error
