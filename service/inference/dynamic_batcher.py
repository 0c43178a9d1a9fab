"""Dynamic batching without a delay: requests that arrive while a batch runs form the next one.

No request waits for others that have not arrived. Small requests run on the event loop, together
with those that arrive before a tick of the loop (one turn, about 10 us) is quiet:

    tick       1       2                3                4
    arrive     A, B    C                -                -
    collect            2 > 0: wait      3 > 2: wait      3 = 3: run A, B, C

Large requests run in a thread: those that arrive while it computes form its next batch.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from service.arrays import Arrays, Images, Infer

OnStart = Callable[[int], object]

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
    on_start: OnStart


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
        self._inline_queue: deque[_PendingRequest] = deque()  # on the event loop
        self._thread_queue: deque[_PendingRequest] = deque()  # in the thread
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "inference")

    async def infer(
        self, images: Images, outputs: Sequence[str], on_start: OnStart = lambda _: None
    ) -> Arrays:
        """Return the named outputs, each (N, K), for images (N, C, H, W), in the given order.

        Args:
            images: uint8.
            outputs: their names.
            on_start: called when the network starts to run, with the number of images in the batch.

        Raises:
            Exception: raised by infer for these images; other requests' errors do not appear here.
        """
        if len(images) <= self._inline:
            return await self._enqueue_inline(images, outputs, on_start)
        # Chunk by chunk, so that other requests can run in between.
        chunks = [
            await self._enqueue_threaded(images[start : start + self._max_batch], outputs, on_start)
            for start in range(0, len(images), self._max_batch)
        ]
        return chunks[0] if len(chunks) == 1 else _joined(chunks)

    async def close(self) -> None:
        """Finish all waiting requests, and end the thread."""
        while self._inline_queue:
            await asyncio.sleep(0)  # one turn of the event loop runs some of them
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    def _enqueue_inline(
        self, images: Images, outputs: Sequence[str], on_start: OnStart
    ) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        if not self._inline_queue:
            loop.call_soon(self._collect_until_quiet, 0)
        request = _PendingRequest(images, outputs, loop.create_future(), on_start)
        self._inline_queue.append(request)
        return request.answer

    def _collect_until_quiet(self, queued_before: int) -> None:
        """Run the queue if the last tick brought no request or the queue is full; else wait a tick.

        Args:
            queued_before: the length of the queue one tick ago.
        """
        if queued_before < len(self._inline_queue) < MAX_INLINE_IMAGES_PER_TICK:
            asyncio.get_running_loop().call_soon(self._collect_until_quiet, len(self._inline_queue))
        else:
            self._run_inline()

    def _run_inline(self) -> None:
        """Run batches up to the limit of one tick, then set all their results."""
        ran = []
        room = MAX_INLINE_IMAGES_PER_TICK
        while self._inline_queue and room > 0:
            batch = _next_batch(self._inline_queue, self._inline_batch)
            room -= _start(batch)
            ran.append((batch, _run_batch_isolating_errors(self._infer, batch)))
        for batch, outcomes in ran:
            _answer(batch, outcomes)
        if self._inline_queue:
            asyncio.get_running_loop().call_soon(self._run_inline)

    def _enqueue_threaded(
        self, images: Images, outputs: Sequence[str], on_start: OnStart
    ) -> asyncio.Future[Arrays]:
        loop = asyncio.get_running_loop()
        request = _PendingRequest(images, outputs, loop.create_future(), on_start)
        self._thread_queue.append(request)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run_threaded())
        return request.answer

    async def _run_threaded(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := _next_batch(self._thread_queue, self._max_batch):
            _start(batch)
            run = partial(_run_batch_isolating_errors, self._infer, batch)
            _answer(batch, await loop.run_in_executor(self._thread, run))


def _next_batch(queue: deque[_PendingRequest], room: int) -> list[_PendingRequest]:
    """Take the requests that fit into a batch, in order, and drop the cancelled ones."""
    batch: list[_PendingRequest] = []
    while queue:
        request = queue[0]
        if not request.answer.cancelled():
            if len(request.images) > room:
                break
            room -= len(request.images)
            batch.append(request)
        queue.popleft()
    return batch


def _start(batch: Sequence[_PendingRequest]) -> int:
    """Return the number of images of a batch, after a call of each request's `on_start`."""
    size = 0
    for request in batch:
        size += len(request.images)
    for request in batch:
        request.on_start(size)
    return size


def _answer(batch: Sequence[_PendingRequest], outcomes: Sequence[Arrays | Exception]) -> None:
    for request, outcome in zip(batch, outcomes, strict=True):
        if request.answer.cancelled():
            continue
        if isinstance(outcome, Exception):
            request.answer.set_exception(outcome)
        else:
            request.answer.set_result(outcome)


def _run_batch_isolating_errors(
    infer: Infer, batch: Sequence[_PendingRequest]
) -> Sequence[Arrays | Exception]:
    """Run several requests as one; if it fails, each alone, so that only its own error counts."""
    if not batch:
        return []
    try:
        return _infer_all(infer, batch)
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [_run_batch_isolating_errors(infer, [request])[0] for request in batch]


def _infer_all(infer: Infer, batch: Sequence[_PendingRequest]) -> list[Arrays]:
    """Run several requests as one; return each one's rows of the outputs that it names."""
    if len(batch) == 1:
        return [infer(batch[0].images, batch[0].outputs)]
    names = list(dict.fromkeys(name for request in batch for name in request.outputs))
    images = np.concatenate([request.images for request in batch])  # (N, C, H, W)
    found = dict(zip(names, infer(images, names), strict=True))  # (N, K) each
    answers = []
    start = 0
    for request in batch:
        rows = slice(start, start + len(request.images))
        answers.append([found[name][rows] for name in request.outputs])
        start = rows.stop
    return answers


def _joined(chunks: Sequence[Arrays]) -> Arrays:
    return [np.concatenate(arrays) for arrays in zip(*chunks, strict=True)]  # (N, K) each
