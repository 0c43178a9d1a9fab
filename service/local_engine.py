"""Spans classified by processes of this machine, in their order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from service.blocks import Choices, Piece, classify_block
from service.devices import Device, open_session
from service.errors import EngineError
from service.model import Model
from service.shards import Block, Span

AHEAD = 3  # spans for each process that are read, classified, or wait to be written


def classify_locally(
    work: Iterable[tuple[Span, int]],
    content: bytes,
    device: Device,
    choices: Choices,
    processes: int,
) -> Iterator[Piece]:
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
    # Each process has a core; numpy's own threads would only get in the way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin, (content, device, choices)
    )
    waiting: deque[Future[Piece]] = deque()
    try:
        for span, passed_over in work:
            waiting.append(pool.submit(_classify, span, passed_over))
            if len(waiting) > AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a process that classifies has ended, perhaps since there was no more memory; what is "
            "written stays: go on with --resume, and fewer --processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def without(block: Block, passed_over: int) -> Block:
    """Return a block without its first pictures."""
    return Block(block.names[passed_over:], block.pictures[passed_over:])


_work: tuple[Model, Choices]  # of one process


def _begin(content: bytes, device: Device, choices: Choices) -> None:
    """In a process of its own: load the model, and end with the parent, whatever ends that."""
    global _work  # an executor gives its processes no other place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = Model(open_session(content, device)), choices


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _classify(span: Span, passed_over: int) -> Piece:
    model, choices = _work
    return classify_block(model, without(span.read(), passed_over), choices)
