"""Natural batching: requests that arrive while a batch runs form the next one.

Nothing ever waits for company: where the network is idle a request runs at once, alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # (N, 1, 28, 28)
Arrays = list[NDArray[np.float32]]  # (N, K) each
Infer = Callable[[Images, Sequence[str]], Arrays]
Running = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A request, or a piece of a large one, that has not run yet."""

    images: Images
    outputs: Sequence[str]
    answer: asyncio.Future[Arrays]
    running: Running


class Batcher:
    """Runs a network for many requests at a time, first come, first served."""

    def __init__(self, infer: Infer, max_batch: int, inline: int = 0) -> None:
        """Run infer for all that ask.

        Args:
            infer: gives the outputs named, (N, K) each, of images (N, 1, 28, 28).
            max_batch: the most images that run at once; a request for more runs in pieces.
            inline: requests for so many images and fewer run on the event loop, which is
                quicker than handing them to a thread.
        """
        self._infer = infer
        self._max_batch = max_batch
        self._inline = inline
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "inference")

    async def infer(
        self, images: Images, outputs: Sequence[str], running: Running = lambda _: None
    ) -> Arrays:
        """Return the outputs named, each (N, K), for images (N, 1, 28, 28), in the order named.

        Args:
            images: uint8.
            outputs: their names.
            running: is told when the network begins to run, and on how many images in all.

        Raises:
            Exception: what infer raised for these images; the faults of others are theirs.
        """
        if len(images) <= self._inline:
            running(len(images))
            return self._infer(images, outputs)
        # One piece after the other, so that others get their turn between them.
        pieces = [
            await self._queued(images[start : start + self._max_batch], outputs, running)
            for start in range(0, len(images), self._max_batch)
        ]
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    async def close(self) -> None:
        """Finish what waits, and end the thread."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    def _queued(
        self, images: Images, outputs: Sequence[str], running: Running
    ) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(images, outputs, loop.create_future(), running)
        self._queue.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return waiting.answer

    async def _work(self) -> None:
        while batch := self._next_batch():
            await self._run(batch)

    def _next_batch(self) -> list[_Waiting]:
        """Take the requests that fit into a batch, in order, less those nobody waits for."""
        batch: list[_Waiting] = []
        room = self._max_batch
        while self._queue:
            waiting = self._queue[0]
            if not waiting.answer.cancelled():
                if len(waiting.images) > room:
                    break
                room -= len(waiting.images)
                batch.append(waiting)
            self._queue.popleft()
        return batch

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        size = sum(len(waiting.images) for waiting in batch)
        for waiting in batch:
            waiting.running(size)
        try:
            answers = await loop.run_in_executor(self._thread, _infer_all, self._infer, batch)
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:  # so that the error goes to whose it is
                    await self._run([waiting])
            elif not batch[0].answer.cancelled():
                batch[0].answer.set_exception(error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.cancelled():
                waiting.answer.set_result(answer)


def _infer_all(infer: Infer, batch: Sequence[_Waiting]) -> list[Arrays]:
    """Run several requests as one, and give each its own rows of the outputs it names."""
    if len(batch) == 1:
        return [infer(batch[0].images, batch[0].outputs)]
    names = list(dict.fromkeys(name for waiting in batch for name in waiting.outputs))
    images = np.concatenate([waiting.images for waiting in batch])  # (N, 1, 28, 28)
    found = dict(zip(names, infer(images, names), strict=True))  # (N, K) each
    answers = []
    start = 0
    for waiting in batch:
        rows = slice(start, start + len(waiting.images))
        answers.append([found[name][rows] for name in waiting.outputs])
        start = rows.stop
    return answers


def _joined(pieces: Sequence[Arrays]) -> Arrays:
    return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]  # (N, K) each
