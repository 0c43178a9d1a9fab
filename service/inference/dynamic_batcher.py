"""Natural batching: requests that arrive while a batch runs form the next one.

Nothing ever waits for company that has not come: where the network is idle a request runs as soon
as a turn of the event loop, some 10 us, has brought no more that were there to be read.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from service.arrays import Arrays, Images, Infer

Running = Callable[[int], object]

# On the event loop, in images: a run takes a millisecond at most, and more images at a time would
# lie outside the CPU's caches. So many run before the first of them is answered: what Python does
# for one request after the other finds in the caches what the last one left, and not the network's
# images, which costs a tenth of a request for 64 and an eighth of one for a single image.
INLINE_BATCH_SIZE, MAX_INLINE_IMAGES_PER_TICK = 64, 512


class _PendingRequest(NamedTuple):
    """A request, or a piece of a large one, that has not run yet."""

    images: Images
    outputs: Sequence[str]
    answer: asyncio.Future[Arrays]
    running: Running


class DynamicBatcher:
    """Runs a network for many requests at a time, first come, first served."""

    def __init__(self, infer: Infer, max_batch: int, inline: int = 0) -> None:
        """Run infer for all that ask.

        Args:
            infer: gives the outputs named, (N, K) each, of images (N, 1, 28, 28).
            max_batch: the most images that run at once; a request for more runs in pieces.
            inline: requests for so many images and fewer run on the event loop, those that came
                together in one go, which is quicker than handing them to a thread.
        """
        self._infer = infer
        self._max_batch = max_batch
        self._inline = min(inline, max_batch)
        self._inline_batch = min(max_batch, max(inline, INLINE_BATCH_SIZE))
        self._small: deque[_PendingRequest] = deque()  # what runs on the event loop
        self._large: deque[_PendingRequest] = deque()  # what runs in the thread
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
            return await self._on_the_loop(images, outputs, running)
        # One piece after the other, so that others get their turn between them.
        pieces = [
            await self._in_the_thread(images[start : start + self._max_batch], outputs, running)
            for start in range(0, len(images), self._max_batch)
        ]
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    async def close(self) -> None:
        """Finish what waits, and end the thread."""
        while self._small:
            await asyncio.sleep(0)  # a turn, in which some of it runs
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
        """Read on for as long as each turn of the loop brings more, and then run."""
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
    """Take the requests that fit into a batch, in order, less those nobody waits for."""
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
    """Tell each that the network begins to run; return on how many images."""
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
    """Run several requests as one; where that fails each alone, so that a fault is its owner's."""
    if not batch:
        return []
    try:
        return _infer_all(infer, batch)
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [_outcomes(infer, [waiting])[0] for waiting in batch]


def _infer_all(infer: Infer, batch: Sequence[_PendingRequest]) -> list[Arrays]:
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
