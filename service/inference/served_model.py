"""A model as requests use it: in batches, and no longer once it cannot be run."""

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

# So many images take the CPU a millisecond, and handing them to a thread and back a tenth more.
INLINE_IMAGES = 64

# More images at a time than this lie outside the CPU's caches, and take 14 % longer.
CPU_BATCH = 128


class ServedModel:
    """A model and its batches; when the last request lets go of it, it is gone, with its thread."""

    def __init__(
        self,
        model: OnnxModel,
        max_batch: int,
        on_model_failed: Callable[[str], None],
        watch: bool = False,
    ) -> None:
        """Serve a model, warmed up.

        Args:
            model: has passed its check.
            max_batch: the most images that run at once.
            on_model_failed: is told why, when the model can no longer be run.
            watch: whether to score the images, where the model knows its training set.
        """
        from service.telemetry.metrics import RunCounter  # only a worker has a folder for metrics

        model.warm_up(max_batch)
        self.model = model
        self._header = "".join(c if "!" <= c <= "~" else "?" for c in model.version).encode()
        self._on_model_failed = on_model_failed
        counter = RunCounter(model.labels)
        run = _counted(model, counter)
        tell = [counter.flush]
        statistics = model.input_statistics if watch else None
        self.watchman = InputMonitor(statistics, run) if statistics else None
        if self.watchman:
            run = self.watchman.infer
            tell.append(self.watchman.flush)
        self._telling = MetricsFlusher(*tell)  # which do not refer to self
        if model.device == "cpu":
            self._batcher = DynamicBatcher(run, min(max_batch, CPU_BATCH), INLINE_IMAGES)
        else:
            self._batcher = DynamicBatcher(run, max_batch)

    async def infer(
        self, images: NDArray[np.uint8], outputs: Sequence[str], timing: RequestTiming
    ) -> Arrays:
        """Run the network, with the images of others where they come at the same time.

        Args:
            images: (N, 1, 28, 28).
            outputs: the names of those wanted, in this order, (N, K) each; `squared_shift` (N, 1)
                among them where there is a watchman.
            timing: takes the time, that of waiting for the batch before among it, and the version.

        Raises:
            Exception: ONNX Runtime's own, which have no base.
        """
        timing.model_version = self._header
        try:
            with timing.inferring():
                found = await self._batcher.infer(images, outputs, timing.running)
        except Exception:
            await self._recheck_health()
            raise
        self._telling.schedule()
        return found

    async def close(self) -> None:
        """Answer what waits, and end the thread that infers."""
        await self._batcher.close()
        self._telling.flush()

    async def _recheck_health(self) -> None:
        """Tell one bad run from a device that is lost: CUDA then fails until the process ends."""
        try:
            await asyncio.to_thread(self.model.check)
        except ModelError as error:
            self._on_model_failed(str(error))


def _counted(model: OnnxModel, counter: "RunCounter") -> Infer:
    """Return what runs a model and counts the runs.

    A function, since what refers to itself would outlive its last request.
    """

    def run(images: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        found = model.infer(images, outputs)  # (N, K) each
        counter.add(found[0])
        return found

    return run
