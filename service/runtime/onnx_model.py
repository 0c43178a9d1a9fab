"""The served network, with the metadata that `export.metadata` wrote into its file."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import inf
from threading import Timer
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import DeviceError, ModelError
from service.runtime.cuda import CUDA
from service.runtime.gpu_network import GpuNetwork
from service.runtime.metadata import ModelMetadata
from service.runtime.onnx_session import CPU, cpu_session, one_line
from service.runtime.processors import processors
from service.runtime.repository import ModelFile, default_file, read_model, sha256
from service.runtime.signature import INPUT, LOGITS, PROBABILITIES
from service.settings import Device, ServiceSettings

logger = logging.getLogger("bentoml.fashion_lenet")

# Of images in one run: a network needs up to a thousand times as much memory, and on the CPU is no
# faster with more. The released model's batches are limited by their number alone.
BATCH_BYTES = {"cpu": 2**20, "cuda": 2**24}
# A run this short is not worth another thread, of ONNX Runtime or ours: the released model takes
# 36 us for an image. A longer run is tried with several threads, which have to save a tenth.
SHORT_SECONDS = 0.0005
TIMED_RUNS = 3
GAIN = 0.9
CHECK_SECONDS = 30.0  # for the golden samples
MEASURED_RUNS = 5  # of a batch size on a device


Run = Callable[[NDArray[np.uint8], Sequence[str], ort.RunOptions | None], list[NDArray[np.float32]]]


class OnnxModel:
    """A folded network on the CPU, and on a GPU too if there is one."""

    def __init__(self, session: ort.InferenceSession, sha256: str = "") -> None:
        """Read the metadata of an opened model, and check its inputs and outputs.

        Args:
            session: of ONNX Runtime, on the CPU.
            sha256: of the model's file, if there is one.

        Raises:
            ModelError: a metadata entry is missing or broken, or the inputs or outputs are not
                as `python -m export` writes them.
        """
        self.session = session
        self.sha256 = sha256
        self.gpu: GpuNetwork | None = None
        self.smallest_on_gpu = 1  # images; fewer run on the CPU
        metadata = ModelMetadata.read(session)
        self.name, self.version, self.signature = (
            metadata.name,
            metadata.version,
            metadata.signature,
        )
        self.labels = metadata.signature.labels
        self.golden, self.input_statistics = metadata.golden, metadata.input_statistics

    def close(self) -> None:
        """Free the memory of the sessions; the model cannot be run afterwards."""
        del self.session
        if self.gpu:
            self.gpu.close()

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of the provider that runs all batches but small ones."""
        return CUDA if self.gpu else CPU

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """The device of that provider."""
        return "cuda" if self.gpu else "cpu"

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
        if self.gpu and len(images) >= self.smallest_on_gpu:
            return self.gpu.infer(images, outputs, options)
        return self._infer_on_cpu(images, outputs, options)

    def _infer_on_cpu(
        self,
        images: NDArray[np.uint8],
        outputs: Sequence[str],
        options: ort.RunOptions | None = None,
    ) -> list[NDArray[np.float32]]:
        arrays: list[NDArray[np.float32]] = self.session.run(
            list(outputs), {INPUT: images}, options
        )
        return arrays

    @cached_property
    def seconds(self) -> float:
        """The CPU's time for one image: the least of a few runs, or the first one that is short.

        Raises:
            ModelError: the model cannot be run.
        """
        images, _ = self._golden(1)  # (1, C, H, W)
        least = inf
        for _ in range(TIMED_RUNS):
            _, seconds = self._try(self._infer_on_cpu, CPU, images)
            least = min(least, seconds)
            if least <= SHORT_SECONDS:
                break
        return least

    def batch_size(self, most: int, device: Literal["cpu", "cuda"] | None = None) -> int:
        """Return how many images to run at once: at most so many, fewer if they are large.

        device: the model's own by default.
        """
        size = BATCH_BYTES[device or self.device] // self.signature.image.bytes
        return max(1, min(most, size))

    def use_gpu(self, gpu: GpuNetwork) -> None:
        """Check the same network on a GPU, and run it there where that is faster.

        Raises:
            ModelError: as in `check`; the model stays on the CPU.
        """
        start = time.perf_counter()
        self._check_gpu(gpu)
        self.smallest_on_gpu = self._measured(gpu)
        self.gpu = gpu
        logger.info(
            "Batches of %s images passed the check on the GPU in %.1f s; fewer than %d images run "
            "on the CPU, which is faster for them.",
            ", ".join(map(str, gpu.sizes)),
            time.perf_counter() - start,
            self.smallest_on_gpu,
        )

    def _measured(self, gpu: GpuNetwork) -> int:
        """Return from how many images on a GPU is at least as fast as the CPU.

        A run on a GPU has a fixed cost of some 25 launches and two copies: a small network computes
        one image sooner on the CPU. Batches of 1, 2, 4 and so on are measured.
        """
        size = 1
        while size <= gpu.sizes[-1]:
            images, _ = self._golden(size)  # (size, C, H, W)
            if _seconds(gpu.infer, images) <= _seconds(self._infer_on_cpu, images):
                break
            size *= 2
        return size

    def check(self) -> None:
        """Run the golden samples on the CPU, and in every batch size on the GPU.

        Raises:
            ModelError: the model cannot be run, or a logit differs from the expected one by
                more than the tolerance.
        """
        self._check(self._infer_on_cpu, CPU, len(self.golden.images))
        if self.gpu:
            self._check_gpu(self.gpu)

    def _check_gpu(self, gpu: GpuNetwork) -> None:
        # cuDNN chooses for each size how to compute a convolution; if it finds no other way, it
        # uses TF32. So each size is checked.
        for size in gpu.sizes:
            self._check(gpu.infer, CUDA, size)

    def _golden(self, size: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return golden images (G, C, H, W) and logits (G, K), repeated or cut to so many."""
        order = np.arange(size) % len(self.golden.images)
        return self.golden.images[order], self.golden.logits[order]

    def _check(self, infer: Run, provider: str, size: int) -> None:
        """Run the golden samples in a batch of this size."""
        images, expected = self._golden(size)
        logits, _ = self._try(infer, provider, images)  # (G, K)
        if logits.shape != expected.shape:
            raise ModelError(
                f"the logits of the model's golden samples: expected shape {expected.shape}, got "
                f"{logits.shape}"
            )
        worst = float(np.abs(logits - expected).max())
        if not worst <= self.golden.tolerance:  # NaN fails too
            raise ModelError(
                f"the model's golden samples come out wrong on {provider}, in a "
                f"batch of {size}: a logit is off by {worst:.3g}, expected at most "
                f"{self.golden.tolerance:g}"
            )

    def _try(
        self, infer: Run, provider: str, images: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], float]:
        """Return the logits (N, K) of images (N, C, H, W), and the seconds that the run took.

        Raises:
            ModelError: the model cannot be run, or not in time.
        """
        try:
            with _ended_after(CHECK_SECONDS) as options:
                start = time.perf_counter()
                logits = infer(images, [LOGITS, PROBABILITIES], options)[0]  # (N, K)
                return logits, time.perf_counter() - start
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise ModelError(f"the model cannot be run on {provider}: {one_line(error)}") from error

    def describe(self) -> dict[str, Any]:
        """Return the model's name and version and its device, for people and probes."""
        return {
            "model": {"name": self.name, "version": self.version},
            "device": self.device,
            "execution_provider": self.execution_provider,
        }


def load_model(
    settings: ServiceSettings, file: ModelFile | None = None, content: bytes | None = None
) -> OnnxModel:
    """Return a model of the settings, checked with its golden samples.

    Args:
        settings: have the device, the largest batch, the threads and the workers.
        file: the model's file; None for the default model's.
        content: of the file, if it has been read already.

    Raises:
        ModelError: the file cannot be read, is not such a model, or fails its golden samples.
        DeviceError: as in `open_model`.
    """
    file = file or default_file(settings)
    if content is None:
        content = read_model(file.path)
    several = max(1, processors() // settings.workers)
    threads = settings.threads or (1, several)
    return open_model(content, settings.device, settings.max_batch, threads, file)


def open_model(
    content: bytes,
    device: Device,
    max_batch: int,
    threads: int | tuple[int, int] = 1,
    file: ModelFile | None = None,
) -> OnnxModel:
    """Return a model on the requested device, checked with its golden samples.

    With `auto` that is a GPU, unless the model cannot run there or fails its golden samples.

    Args:
        content: of the file.
        device: `cuda` fails without a GPU.
        max_batch: the most images in one run on a GPU.
        threads: of a run on the CPU; of two numbers the one that is faster for this model.
        file: has the name and version of a model of `FASHION_MODELS`.

    Raises:
        ModelError: the content is not such a model, or fails its golden samples on the CPU.
        DeviceError: `cuda` was requested, and the model cannot run there or fails its golden
            samples.
    """
    model = _on_cpu(content, *((threads,) if isinstance(threads, int) else threads))
    if file is not None:
        model.name, model.version = file.name or model.name, file.version or model.version
    if device != "cpu":
        try:
            model.use_gpu(GpuNetwork.open(content, model.batch_size(max_batch, "cuda")))
        except ModelError as error:
            if device == "cuda":
                raise DeviceError(
                    f"FASHION_DEVICE is cuda, but {error}; with auto the CPU serves"
                ) from error
            logger.warning("Serving on the CPU, because %s.", error)
    return model


def _on_cpu(content: bytes, threads: int, several: int = 1) -> OnnxModel:
    """Return a checked model, with several threads where its runs are long and they save time."""
    model = OnnxModel(cpu_session(content, threads), sha256(content))
    model.check()
    if several <= threads or model.seconds <= SHORT_SECONDS:
        return model
    other = OnnxModel(cpu_session(content, several), model.sha256)
    other.check()
    logger.info(
        "An image takes %.1f ms with %d thread of ONNX Runtime, %.1f ms with %d.",
        1000 * model.seconds,
        threads,
        1000 * other.seconds,
        several,
    )
    if other.seconds <= GAIN * model.seconds:
        model, other = other, model
    other.close()
    return model


def _seconds(infer: Run, images: NDArray[np.uint8]) -> float:
    """Return the median time of a run, of some after the first."""
    times = []
    for _ in range(MEASURED_RUNS + 1):
        start = time.perf_counter()
        infer(images, [PROBABILITIES], None)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


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
