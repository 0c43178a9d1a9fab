"""Processes that classify: a free one gets the next chunk, and results keep their order."""

import io
import json
import multiprocessing
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from service.errors import EngineError
from service.offline.classify_chunk import ClassifyOptions
from service.offline.inputs.types import ImageBatch, LoadedChunk
from service.offline.process_pool import AHEAD, Work, _start, classify_locally
from service.offline.row_formats import JSONLinesEncoder
from service.settings import RELEASED_MODEL

CHOICES = ClassifyOptions(JSONLinesEncoder(), max_pixels=32_000_000)
PROCESSES = 2


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 100).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("slow", [{0}, {3, 4, 5}, {1, 9, 17}, set(range(0, 24, 2))])
def test_pieces_come_in_order_however_long_each_takes(slow: set[int]) -> None:
    large, small = picture(1500), picture(28)
    sent = 0

    def work() -> Iterator[Work]:
        nonlocal sent
        for span in range(24):
            sent += 1
            names = [f"{span}.{n}" for n in range(3)]
            yield LoadedChunk(ImageBatch(names, [large if span in slow else small] * 3)), span % 2

    content = RELEASED_MODEL.read_bytes()
    found = []
    for given, piece in enumerate(classify_locally(work(), content, "cpu", CHOICES, PROCESSES)):
        assert sent - given <= AHEAD * PROCESSES + 1  # however far the quicker one could go
        assert piece.rows == piece.content.count(b"\n")
        found += [json.loads(line)["file"] for line in piece.content.splitlines()]
    # Of every other span the first picture has its row already.
    assert found == [f"{span}.{n}" for span in range(24) for n in range(span % 2, 3)]


def test_what_a_process_raises_is_raised_here() -> None:
    work: list[Work] = [(LoadedChunk(ImageBatch(["a"], [picture(28)])), 0)]
    with pytest.raises(Exception, match=r"^the model"):
        list(classify_locally(iter(work), b"no model", "cpu", CHOICES, PROCESSES))


def test_a_process_that_is_killed_once_all_is_sent_is_told() -> None:
    def work() -> Iterator[Work]:
        for span in range(4):
            yield LoadedChunk(ImageBatch([str(span)], [picture(1500)])), 0
        for process in multiprocessing.active_children():
            process.kill()

    content = RELEASED_MODEL.read_bytes()
    with pytest.raises(EngineError, match=r"^a worker process has ended"):
        list(classify_locally(work(), content, "cpu", CHOICES, PROCESSES))


def test_no_work_is_no_pieces() -> None:
    content = RELEASED_MODEL.read_bytes()
    assert list(classify_locally(iter(()), content, "cpu", CHOICES, PROCESSES)) == []


def test_a_process_ends_with_a_parent_that_ends_within_a_message() -> None:
    worker = _start()
    os.write(worker.work.fileno(), struct.pack("!i", 400_000) + b"torn")
    worker.work.close()
    worker.process.join(60)
    assert worker.process.exitcode == 0
    worker.results_pipe.close()


def test_spans_on_their_way_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.offline.process_pool.HELD_BYTES", 10_000_000)
    sent = 0

    def work() -> Iterator[Work]:
        nonlocal sent
        for span in range(8):
            sent += 1
            yield LoadedChunk(ImageBatch([str(span)], [b"no picture" * 600_000])), 0

    content = RELEASED_MODEL.read_bytes()
    pieces = classify_locally(work(), content, "cpu", CHOICES, PROCESSES)
    for given, piece in enumerate(pieces):
        assert sent - given <= 2  # one that is classified, and one that waits
        assert json.loads(piece.content)["file"] == str(given)
    assert sent == 8


def test_control_c_does_not_reach_a_process_from_its_first_moment_on() -> None:
    worker = _start()
    assert worker.process.pid
    status = dict(
        line.split(":\t")
        for line in Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    )
    assert int(status["SigBlk"], 16) & 1 << (signal.SIGINT - 1)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    worker.work.close()
    worker.process.join(60)
    worker.results_pipe.close()
