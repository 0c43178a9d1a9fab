"""A model with its batcher and its metrics, which ends its worker when it can no longer be run."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.arrays import Arrays, Infer
from service.drift.monitor import InputMonitor
from service.errors import ModelError
from service.inference.dynamic_batcher import DynamicBatcher
from service.runtime.onnx_model import OnnxModel
from service.telemetry.flusher import MetricsFlusher
from service.telemetry.request_timing import RequestTiming

if TYPE_CHECKING:
    from service.telemetry.metrics import RunCounter

# So many images take 1 ms on the CPU; a switch to a thread and back would add a tenth.
INLINE_IMAGES = 64

# A larger batch does not fit into the CPU's caches, and takes 14 % longer for each image.
CPU_BATCH = 128


class ServedModel:
    """A model and its batcher; both are freed, with their thread, after the last request."""

    def __init__(
        self,
        model: OnnxModel,
        max_batch: int,
        on_model_failed: Callable[[str], None],
        watch: bool = False,
    ) -> None:
        """Serve a model.

        Args:
            model: a model that has passed its check.
            max_batch: the most images in one run.
            on_model_failed: called with the reason when the model can no longer be run.
            watch: whether to compute the images' outlier scores, if the model has input statistics.
        """
        from service.telemetry.metrics import RunCounter  # only a worker has a metrics folder

        self.model = model
        self._header = "".join(c if "!" <= c <= "~" else "?" for c in model.version).encode()
        self._on_model_failed = on_model_failed
        counter = RunCounter(model.labels)
        run = _counted(model, counter)
        flushes = [counter.flush]
        statistics = model.input_statistics if watch else None
        self.watchman = InputMonitor(statistics, run) if statistics else None
        if self.watchman:
            run = self.watchman.infer
            flushes.append(self.watchman.flush)
        self._flusher = MetricsFlusher(*flushes)  # none of them refers to self
        if model.device == "cpu":
            self._batcher = DynamicBatcher(run, min(max_batch, CPU_BATCH), INLINE_IMAGES)
        else:
            # What runs on the CPU beside a GPU runs on the event loop.
            inline = min(model.smallest_on_gpu - 1, INLINE_IMAGES)
            self._batcher = DynamicBatcher(run, max_batch, inline)

    async def infer(
        self, images: NDArray[np.uint8], outputs: Sequence[str], timing: RequestTiming
    ) -> Arrays:
        """Return the outputs for images, which may run in one batch with other requests' images.

        Args:
            images: (N, 1, 28, 28).
            outputs: names of the outputs, in the order to return them, (N, K) each; also
                `squared_shift` (N, 1) if the input is monitored.
            timing: records the time, including the wait for the batch before, and the version.

        Raises:
            Exception: any of ONNX Runtime's exceptions, which have no common base class.
        """
        timing.model_version = self._header
        try:
            with timing.inferring():
                found = await self._batcher.infer(images, outputs, timing.running)
        except Exception:
            await self._recheck_health()
            raise
        self._flusher.schedule()
        return found

    async def close(self) -> None:
        """Finish all waiting requests, and end the inference thread."""
        await self._batcher.close()
        self._flusher.flush()

    async def _recheck_health(self) -> None:
        """Check the model after a failed run: a lost CUDA device fails until the process ends."""
        try:
            await asyncio.to_thread(self.model.check)
        except ModelError as error:
            self._on_model_failed(str(error))


def _counted(model: OnnxModel, counter: "RunCounter") -> Infer:
    """Return a function that runs a model and counts the runs.

    It is not a method: a reference cycle would keep the model alive after its last request.
    """

    def run(images: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        found = model.infer(images, outputs)  # (N, K) each
        counter.add(found[0])
        return found

    return run
