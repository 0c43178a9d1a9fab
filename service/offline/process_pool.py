"""Classify chunks in processes on this machine, and keep their order.

Each process has its own two pipes, and a pipe holds a whole answer. An executor has one queue for
all processes, in which readers and writers wait for each other at each 64 KiB. A chunk goes to the
process with the least work, since one process shares its processor with the parent, which reads
and writes.
"""

import fcntl
import gc
import multiprocessing
import os
import pickle
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from service.errors import EngineError
from service.malloc import tune_malloc_for_batch
from service.offline.background_process import start
from service.offline.classify_chunk import CUDA_BATCH, ClassifyOptions, EncodedRows, classify_batch
from service.offline.inputs.types import Chunk, ImageBatch
from service.runtime.onnx_model import open_model
from service.settings import Device

AHEAD = 3  # chunks per process that are read, classified, or wait to be written
HELD_BYTES = 256 * 2**20  # of chunks in flight, unless a single chunk is larger
PIPE_BYTES = 2**20  # Linux's maximum for users other than root

Work = tuple[Chunk, int]


class _Worker(NamedTuple):
    """A worker process as its parent sees it."""

    process: multiprocessing.process.BaseProcess
    work: Connection
    results_pipe: Connection
    pending: deque[int]  # sequence numbers of its chunks


def classify_locally(
    work: Iterable[Work], content: bytes, device: Device, options: ClassifyOptions, processes: int
) -> Iterator[EncodedRows]:
    """Classify chunks in several processes; yield their rows in order.

    Args:
        work: each chunk, and how many of its first images to skip.
        content: the bytes of the model file.
        device: a value of `FASHION_DEVICE`.
        options: the options for all images.
        processes: number of processes.

    Raises:
        EngineError: a process ended before its work was done.
    """
    # Each process has a core: more threads are slower. BLAS reads this when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    workers = [_start() for _ in range(processes)]
    results = OrderedResults(workers)
    try:
        for worker in workers:  # they all start in parallel: each send waits for its reader
            worker.work.send((content, device, options))
        for item in work:
            message = pickle.dumps(item)
            while results.pending and results.pending_bytes + len(message) > HELD_BYTES:
                yield results.next()
            results.request(message)
            while results.pending > AHEAD * processes:
                yield results.next()
        while results.pending:
            yield results.next()
    except (EOFError, ConnectionError) as error:
        raise EngineError(
            "a worker process has ended, perhaps because memory ran out; the rows already written "
            "are kept: continue with --resume and fewer --processes"
        ) from error
    finally:
        for worker in workers:
            worker.work.close()  # this ends the process at once
        for worker in workers:
            worker.process.join()
            worker.results_pipe.close()


class OrderedResults:
    """The rows of chunks that several processes classify, in the order of the requests."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        """Divide the chunks among these processes."""
        self._workers = workers
        self._sizes: deque[int] = deque()  # bytes of each request without its result
        self._requested = 0
        self._returned = 0
        self._arrived: dict[int, EncodedRows] = {}  # by sequence number, while earlier are missing

    @property
    def pending(self) -> int:
        """The number of requests whose rows `next` has not returned."""
        return self._requested - self._returned

    @property
    def pending_bytes(self) -> int:
        """The bytes of these requests."""
        return sum(self._sizes)

    def request(self, message: bytes) -> None:
        """Send a chunk, pickled as Work, to the process with the least work."""
        worker = min(self._workers, key=lambda one: len(one.pending))
        worker.work.send_bytes(message)
        worker.pending.append(self._requested)
        self._sizes.append(len(message))
        self._requested += 1

    def next(self) -> EncodedRows:
        """Wait for the rows of the first pending request, and return them.

        Raises:
            EOFError: a process has ended.
            Exception: raised in a process.
        """
        while self._returned not in self._arrived:
            self._arrived.update(_receive_some(self._workers))
        rows = self._arrived.pop(self._returned)
        self._sizes.popleft()
        self._returned += 1
        return rows


def drop_first(batch: ImageBatch, count: int) -> ImageBatch:
    """Return the batch without its first images."""
    return ImageBatch(batch.names[count:], batch.pictures[count:])


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    theirs, work = context.Pipe(duplex=False)
    results_pipe, ours = context.Pipe(duplex=False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
        with suppress(OSError):  # with many pipes each gets less; it still works, but slower
            fcntl.fcntl(results_pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = context.Process(target=_classify_all, args=(theirs, ours), daemon=True)
    start(process)
    theirs.close()
    ours.close()  # so that reading ends when the process ends
    return _Worker(process, work, results_pipe, deque())


def _receive_some(workers: Iterable[_Worker]) -> Iterator[tuple[int, EncodedRows]]:
    """Wait for rows; yield those that have arrived with their sequence numbers."""
    ready = wait([worker.results_pipe for worker in workers])
    for worker in workers:
        if worker.results_pipe in ready:
            found: tuple[int, int] | Exception = worker.results_pipe.recv()
            if isinstance(found, Exception):
                raise found
            yield worker.pending.popleft(), EncodedRows(*found, worker.results_pipe.recv_bytes())


def _classify_all(work: Connection, results_pipe: Connection) -> None:
    """Classify chunks in a worker process until the parent closes its pipe or ends."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()  # the common arguments, then Work
    threading.Thread(target=_receive, args=(work, waiting), daemon=True).start()
    try:
        content, device, options = waiting.get()
        model = open_model(content, device, CUDA_BATCH, file=options.file)
        tune_malloc_for_batch()
        gc.freeze()  # objects that exist now stay, and need no collection
        while True:
            chunk, existing_rows = waiting.get()
            encoded = classify_batch(model, drop_first(chunk.read(), existing_rows), options)
            results_pipe.send((encoded.rows, encoded.errors))
            results_pipe.send_bytes(encoded.content)  # pickling would copy it at both ends
    except Exception as error:  # for the parent to raise
        results_pipe.send(error)


def _receive(work: Connection, waiting: "queue.SimpleQueue[Any]") -> None:
    """Receive all work at once, because the parent is blocked while it sends."""
    try:
        while True:
            waiting.put(work.recv())
    finally:  # the pipe is closed, the parent ended while sending, or memory ran out
        os._exit(0)
