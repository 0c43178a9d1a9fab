"""Spans classified by processes of this machine, in their order.

Each process has a pipe to it and one back that hold a whole answer: an executor's one queue for all
has its readers and writers wait for each other at each 64 KiB. A span goes to the process that has
the least to do, since one shares its processor with who reads and writes.
"""

import fcntl
import gc
import multiprocessing
import os
import pickle
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from service.errors import EngineError
from service.malloc import tune_malloc_for_batch
from service.offline.background_process import start
from service.offline.classify_chunk import ClassifyOptions, EncodedRows, classify_block
from service.offline.inputs.types import Chunk, ImageBatch
from service.runtime.onnx_model import OnnxModel
from service.runtime.onnx_session import create_session
from service.settings import Device

AHEAD = 3  # spans for each process that are read, classified, or wait to be written
HELD_BYTES = 256 * 2**20  # of spans that are on their way, unless one alone has more
PIPE_BYTES = 2**20  # Linux's most, for who is not root

Work = tuple[Chunk, int]


class _Worker(NamedTuple):
    """A process, as its parent has it."""

    process: multiprocessing.process.BaseProcess
    work: Connection
    pieces: Connection
    turns: deque[int]  # of the spans that it has


def classify_locally(
    work: Iterable[Work], content: bytes, device: Device, choices: ClassifyOptions, processes: int
) -> Iterator[EncodedRows]:
    """Classify spans, each without so many of its first pictures.

    Args:
        work: spans, and how many pictures of each to pass over.
        content: of the model's file.
        device: as `FASHION_DEVICE` has it.
        choices: for all pictures.
        processes: how many classify at a time.

    Raises:
        EngineError: a process ended before its work was done.
    """
    # Each process has a core: more threads would be in the way. BLAS asks when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    workers = [_start() for _ in range(processes)]
    found: dict[int, EncodedRows] = {}  # by their turns, which have not come
    sizes: deque[int] = deque()  # of the spans whose turn has not come
    turn = 0

    def pieces(before: int) -> Iterator[EncodedRows]:
        nonlocal turn
        while turn < before:
            if turn not in found:
                found.update(_receive_some(workers))
                continue
            sizes.popleft()
            yield found.pop(turn)
            turn += 1

    sent = 0
    try:
        for worker in workers:  # all of them start meanwhile: this waits for each to read
            worker.work.send((content, device, choices))
        for item in work:
            message = pickle.dumps(item)
            while sizes and sum(sizes) + len(message) > HELD_BYTES:
                yield from pieces(turn + 1)
            sizes.append(len(message))
            worker = min(workers, key=lambda one: len(one.turns))
            worker.work.send_bytes(message)
            worker.turns.append(sent)
            sent += 1
            yield from pieces(sent - AHEAD * processes)
        yield from pieces(sent)
    except (EOFError, ConnectionError) as error:
        raise EngineError(
            "a process that classifies has ended, perhaps since there was no more memory; what is "
            "written stays: go on with --resume, and fewer --processes"
        ) from error
    finally:
        for worker in workers:
            worker.work.close()  # which ends it, whatever it does
        for worker in workers:
            worker.process.join()
            worker.pieces.close()


def without(block: ImageBatch, passed_over: int) -> ImageBatch:
    """Return a block without its first pictures."""
    return ImageBatch(block.names[passed_over:], block.pictures[passed_over:])


def _start() -> _Worker:
    context = multiprocessing.get_context("spawn")
    theirs, work = context.Pipe(duplex=False)
    pieces, ours = context.Pipe(duplex=False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
        with suppress(OSError):  # of many pipes each gets less, and all goes on, more slowly
            fcntl.fcntl(pieces.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = context.Process(target=_classify_all, args=(theirs, ours), daemon=True)
    start(process)
    theirs.close()
    ours.close()  # so that the end of the process is the end of what can be read
    return _Worker(process, work, pieces, deque())


def _receive_some(workers: Iterable[_Worker]) -> Iterator[tuple[int, EncodedRows]]:
    """Wait for pieces, and return those that are there with their turns."""
    ready = wait([worker.pieces for worker in workers])
    for worker in workers:
        if worker.pieces in ready:
            found: tuple[int, int] | Exception = worker.pieces.recv()
            if isinstance(found, Exception):
                raise found
            yield worker.turns.popleft(), EncodedRows(*found, worker.pieces.recv_bytes())


def _classify_all(work: Connection, pieces: Connection) -> None:
    """In a process of its own: classify what comes, until the parent closes its pipe or ends."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()  # what is given to all, and then Work
    threading.Thread(target=_receive, args=(work, waiting), daemon=True).start()
    try:
        content, device, choices = waiting.get()
        model = OnnxModel(create_session(content, device))
        tune_malloc_for_batch()
        gc.freeze()  # what is there now stays, and need not be looked at
        while True:
            span, passed_over = waiting.get()
            piece = classify_block(model, without(span.read(), passed_over), choices)
            pieces.send((piece.rows, piece.faults))
            pieces.send_bytes(piece.content)  # a pickle would be a copy at each end
    except Exception as error:  # for the parent to raise
        pieces.send(error)


def _receive(work: Connection, waiting: "queue.SimpleQueue[Any]") -> None:
    """Take all that comes at once, since the parent does nothing else while it sends."""
    try:
        while True:
            waiting.put(work.recv())
    finally:  # it is closed, or the parent ended within a message, or memory cannot hold one
        os._exit(0)
