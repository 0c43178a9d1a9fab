"""Natural batching: requests that arrive while a batch runs form the next one.

No request waits for others that have not arrived. If the network is idle, a batch runs as soon as
one turn of the event loop, about 10 us, has brought no further request.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from service.arrays import Arrays, Images, Infer

Running = Callable[[int], object]

# Both in images, on the event loop. A run takes at most 1 ms, and a larger batch would not fit into
# the CPU's caches. Up to the second number of images run before the first response is sent, so that
# Python's work for one request after the other finds its own data in the caches. With the network's
# images there instead, a request of 64 images takes a tenth longer, one of one image an eighth.
INLINE_BATCH_SIZE, MAX_INLINE_IMAGES_PER_TICK = 64, 512


class _PendingRequest(NamedTuple):
    """A request, or a chunk of a large one, that has not run yet."""

    images: Images
    outputs: Sequence[str]
    answer: asyncio.Future[Arrays]
    running: Running


class DynamicBatcher:
    """Runs a network on the images of many requests at a time, first come, first served."""

    def __init__(self, infer: Infer, max_batch: int, inline: int = 0) -> None:
        """Batch the calls of a function.

        Args:
            infer: returns the named outputs, (N, K) each, for images (N, C, H, W).
            max_batch: the most images in one run; a larger request runs in chunks.
            inline: requests of at most so many images run on the event loop, which is faster than
                a switch to a thread; those that arrived together run together.
        """
        self._infer = infer
        self._max_batch = max_batch
        self._inline = min(inline, max_batch)
        self._inline_batch = min(max_batch, max(inline, INLINE_BATCH_SIZE))
        self._small: deque[_PendingRequest] = deque()  # run on the event loop
        self._large: deque[_PendingRequest] = deque()  # run in the thread
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "inference")

    async def infer(
        self, images: Images, outputs: Sequence[str], running: Running = lambda _: None
    ) -> Arrays:
        """Return the named outputs, each (N, K), for images (N, C, H, W), in the given order.

        Args:
            images: uint8.
            outputs: their names.
            running: called when the network starts to run, with the number of images in the batch.

        Raises:
            Exception: raised by infer for these images; other requests' errors do not appear here.
        """
        if len(images) <= self._inline:
            return await self._on_the_loop(images, outputs, running)
        # Chunk by chunk, so that other requests can run in between.
        chunks = [
            await self._in_the_thread(images[start : start + self._max_batch], outputs, running)
            for start in range(0, len(images), self._max_batch)
        ]
        return chunks[0] if len(chunks) == 1 else _joined(chunks)

    async def close(self) -> None:
        """Finish all waiting requests, and end the thread."""
        while self._small:
            await asyncio.sleep(0)  # one turn of the event loop runs some of them
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    def _on_the_loop(
        self, images: Images, outputs: Sequence[str], running: Running
    ) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        if not self._small:
            loop.call_soon(self._collect_until_quiet, 0)
        waiting = _PendingRequest(images, outputs, loop.create_future(), running)
        self._small.append(waiting)
        return waiting.answer

    def _collect_until_quiet(self, before: int) -> None:
        """Run once a turn of the event loop brings no more requests."""
        if before < len(self._small) < MAX_INLINE_IMAGES_PER_TICK:
            asyncio.get_running_loop().call_soon(self._collect_until_quiet, len(self._small))
        else:
            self._run_small()

    def _run_small(self) -> None:
        ran = []
        room = MAX_INLINE_IMAGES_PER_TICK
        while self._small and room > 0:
            batch = _next_batch(self._small, self._inline_batch)
            room -= _begin(batch)
            ran.append((batch, _outcomes(self._infer, batch)))
        for batch, outcomes in ran:
            _answer(batch, outcomes)
        if self._small:
            asyncio.get_running_loop().call_soon(self._run_small)

    def _in_the_thread(
        self, images: Images, outputs: Sequence[str], running: Running
    ) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        waiting = _PendingRequest(images, outputs, loop.create_future(), running)
        self._large.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run_large())
        return waiting.answer

    async def _run_large(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := _next_batch(self._large, self._max_batch):
            _begin(batch)
            _answer(batch, await loop.run_in_executor(self._thread, _outcomes, self._infer, batch))


def _next_batch(queue: deque[_PendingRequest], room: int) -> list[_PendingRequest]:
    """Take the requests that fit into a batch, in order, and drop the cancelled ones."""
    batch: list[_PendingRequest] = []
    while queue:
        waiting = queue[0]
        if not waiting.answer.cancelled():
            if len(waiting.images) > room:
                break
            room -= len(waiting.images)
            batch.append(waiting)
        queue.popleft()
    return batch


def _begin(batch: Sequence[_PendingRequest]) -> int:
    """Return the number of images of a batch, after a call of each request's `running`."""
    size = sum([len(waiting.images) for waiting in batch])
    for waiting in batch:
        waiting.running(size)
    return size


def _answer(batch: Sequence[_PendingRequest], outcomes: Sequence[Arrays | Exception]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.answer.cancelled():
            continue
        if isinstance(outcome, Exception):
            waiting.answer.set_exception(outcome)
        else:
            waiting.answer.set_result(outcome)


def _outcomes(infer: Infer, batch: Sequence[_PendingRequest]) -> Sequence[Arrays | Exception]:
    """Run several requests as one; if it fails, each alone, so that only its own error counts."""
    if not batch:
        return []
    try:
        return _infer_all(infer, batch)
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [_outcomes(infer, [waiting])[0] for waiting in batch]


def _infer_all(infer: Infer, batch: Sequence[_PendingRequest]) -> list[Arrays]:
    """Run several requests as one; return each one's rows of the outputs that it names."""
    if len(batch) == 1:
        return [infer(batch[0].images, batch[0].outputs)]
    names = list(dict.fromkeys(name for waiting in batch for name in waiting.outputs))
    images = np.concatenate([waiting.images for waiting in batch])  # (N, C, H, W)
    found = dict(zip(names, infer(images, names), strict=True))  # (N, K) each
    answers = []
    start = 0
    for waiting in batch:
        rows = slice(start, start + len(waiting.images))
        answers.append([found[name][rows] for name in waiting.outputs])
        start = rows.stop
    return answers


def _joined(chunks: Sequence[Arrays]) -> Arrays:
    return [np.concatenate(arrays) for arrays in zip(*chunks, strict=True)]  # (N, K) each
