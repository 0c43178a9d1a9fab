"""A model with its batcher and its metrics, which ends its worker when it can no longer be run.

A request uses a model in a `with` block. A model that another one replaces is retired, and closed
as soon as its last user leaves the block.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.arrays import Arrays, Infer
from service.drift.statistics import SQUARED_DISTANCE_OUTPUT
from service.errors import ModelError, Overloaded
from service.inference.dynamic_batcher import DynamicBatcher
from service.inference.results import Classification, Predictions, classifications, predictions
from service.preprocessing.pipeline import PreprocessedImage
from service.runtime.onnx_model import SHORT_SECONDS, OnnxModel
from service.runtime.signature import PROBABILITIES
from service.telemetry.flusher import FLUSHER
from service.telemetry.metrics import RunCounter
from service.telemetry.request_timing import RequestTiming

# So many images take the released model 1 ms on the CPU; a switch to a thread and back would add a
# tenth. A model with longer runs would block the event loop.
INLINE_IMAGES = 64

# A larger batch does not fit into the CPU's caches, and takes 14 % longer for each image.
CPU_BATCH = 128


class ServedModel:
    """A model and its batcher, and a count of the requests that use them.

    Attributes:
        share: how many requests may run or wait here; the data plane sets it.
    """

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
        max_batch = model.batch_size(max_batch)
        self.model = model
        self._header = "".join(c if "!" <= c <= "~" else "?" for c in model.version).encode()
        self._on_model_failed = on_model_failed
        self._counter = RunCounter(model.name, model.labels)
        run = _counted(model, self._counter)
        self._flushes = [self._counter.flush]
        self.monitor = None
        self._outputs = [PROBABILITIES]  # for pictures
        if watch and model.input_statistics:
            # Imported here, because the import adds the monitor's metrics to /metrics.
            from service.drift.monitor import InputMonitor

            self.monitor = InputMonitor(model.name, model.input_statistics, run)
            run = self.monitor.infer
            self._outputs.append(SQUARED_DISTANCE_OUTPUT)
            self._flushes.append(self.monitor.flush)
        for flush in self._flushes:
            FLUSHER.add(flush)
        if model.device == "cpu":
            inline = INLINE_IMAGES if model.seconds <= SHORT_SECONDS else 0
            self._batcher = DynamicBatcher(run, min(max_batch, CPU_BATCH), inline)
        else:
            # What runs on the CPU beside a GPU runs on the event loop.
            inline = min(model.smallest_on_gpu - 1, INLINE_IMAGES)
            self._batcher = DynamicBatcher(run, max_batch, inline)
        self.share: float = inf
        self._in_flight = 0  # requests that run or wait
        self._users = 0
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Keep the model open for the block.

        Raises:
            Overloaded: as in `infer`, before the request's body is read.
        """
        if self._in_flight >= self.share:
            raise self._overload()
        self._users += 1
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the model after the last block, if it is retired."""
        self._users -= 1
        if self._is_retired:
            self._close_if_unused()

    def retire(self) -> None:
        """On the event loop: close the model as soon as nothing uses it."""
        self._is_retired = True
        self._close_if_unused()

    async def infer(
        self, images: NDArray[np.uint8], outputs: Sequence[str], timing: RequestTiming
    ) -> Arrays:
        """Return the outputs for images, which may run in one batch with other requests' images.

        Args:
            images: (N, C, H, W).
            outputs: names of the outputs, in the order to return them, (N, K) each; also
                `squared_shift` (N, 1) if the input is monitored.
            timing: records the time, including the wait for the batch before, and the version.

        Raises:
            Overloaded: too many requests run or wait here.
            Exception: any of ONNX Runtime's exceptions, which have no common base class.
        """
        if self._in_flight >= self.share:
            raise self._overload()
        timing.model_version = self._header
        before = timing.inference
        self._in_flight += 1
        try:
            with timing.inferring():
                return await self._batcher.infer(images, outputs, timing.running)
        except Exception:
            await self._recheck_health()
            raise
        finally:
            self._in_flight -= 1
            self._counter.add_time(timing.inference - before)

    async def classify(
        self, seen: Sequence[PreprocessedImage], timing: RequestTiming, top_k: int | None = None
    ) -> list[Classification]:
        """Return the classifications of images preprocessed for this model, in order.

        Args:
            seen: the images, as `service.preprocessing.pipeline.preprocess` returns them.
            timing: records the time of inference.
            top_k: how many classes an answer has, the most probable first; None for all.
        """
        pixels, preprocessings = zip(*seen, strict=True)  # (C, H, W) each
        images = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)  # (N, C, H, W)
        probabilities, *squares = await self.infer(images, self._outputs, timing)  # (N, K), (N, 1)
        shifts = squares[0][:, 0].tolist() if squares else None
        return classifications(self.model, images, probabilities, preprocessings, shifts, top_k)

    async def predict(self, images: NDArray[np.uint8], timing: RequestTiming) -> Predictions:
        """Return the predictions for images (N, C, H, W), and record the time of inference."""
        (probabilities,) = await self.infer(images, [PROBABILITIES], timing)  # (N, K)
        return predictions(self.model, probabilities)

    async def close(self) -> None:
        """Finish all waiting requests, end the inference thread and free the device's memory."""
        await self._batcher.close()
        for flush in self._flushes:
            FLUSHER.remove(flush)
        if self.monitor:
            self.monitor.close()
        self.model.close()

    def _overload(self) -> Overloaded:
        return Overloaded(
            f"the model {self.model.name!r} has {self._in_flight:,} requests in flight, its "
            "share of this worker's: try again"
        )

    def _close_if_unused(self) -> None:
        if self._users == 0 and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self.close())

    async def _recheck_health(self) -> None:
        """Check the model after a failed run: a lost CUDA device fails until the process ends."""
        try:
            await asyncio.to_thread(self.model.check)
        except ModelError as error:
            self._on_model_failed(str(error))


def _counted(model: OnnxModel, counter: RunCounter) -> Infer:
    """Return a function that runs a model and counts the runs."""

    def run(images: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        found = model.infer(images, outputs)  # (N, K) each
        counter.add(found[0])
        return found

    return run
