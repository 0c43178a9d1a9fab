"""Metrics are updated every half second, and at once when they are read."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.telemetry.flusher import FLUSH_INTERVAL_SECONDS, MetricsFlusher


def test_it_is_called_a_little_later_and_again() -> None:
    async def run() -> None:
        told = asyncio.Event()
        calls: list[float] = []
        loop = asyncio.get_running_loop()
        start = loop.time()
        flusher = MetricsFlusher()
        flusher.add(lambda: (calls.append(loop.time()), told.set()))
        with running(flusher):
            async with asyncio.timeout(20 * FLUSH_INTERVAL_SECONDS):
                await told.wait()
                assert calls[0] - start >= FLUSH_INTERVAL_SECONDS
                told.clear()
                await told.wait()
        assert len(calls) == 2

    asyncio.run(run())


def test_all_can_be_called_at_once_and_none_after_its_removal() -> None:
    calls: list[str] = []
    flusher = MetricsFlusher()
    first, second = (lambda: calls.append("first")), (lambda: calls.append("second"))
    flusher.add(first)
    flusher.add(second)
    flusher.flush()
    assert calls == ["first", "second"]
    flusher.remove(first)
    assert calls == ["first", "second", "first"]  # what it had collected until then
    flusher.flush()
    assert calls == ["first", "second", "first", "second"]


def test_one_that_fails_is_logged_and_keeps_no_other_from_its_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        turns = 0
        told = asyncio.Event()

        def fail() -> None:
            raise ValueError("a broken metric")

        def count() -> None:
            nonlocal turns
            turns += 1
            if turns == 2:
                told.set()

        flusher = MetricsFlusher()
        flusher.add(fail)
        flusher.add(count)
        with running(flusher):
            await asyncio.wait_for(told.wait(), 600)

    asyncio.run(run())
    assert caplog.text.count("ValueError: a broken metric") >= 2


@contextmanager
def running(flusher: MetricsFlusher) -> Iterator[None]:
    task = asyncio.create_task(flusher.run())
    try:
        yield
    finally:
        task.cancel()
