"""What is told a little later: once for all that want it, and at once when somebody looks."""

import asyncio

from service.telemetry.flusher import FLUSH_INTERVAL_SECONDS, MetricsFlusher


def test_it_is_called_a_little_later_and_once() -> None:
    async def run() -> None:
        told = asyncio.Event()
        calls: list[float] = []
        loop = asyncio.get_running_loop()
        start = loop.time()
        telling = MetricsFlusher(lambda: (calls.append(loop.time()), told.set()))
        for _ in range(20):
            telling.schedule()
        assert not calls
        async with asyncio.timeout(20 * FLUSH_INTERVAL_SECONDS):
            await told.wait()
            assert calls[0] - start >= FLUSH_INTERVAL_SECONDS
            told.clear()
            telling.schedule()
            await told.wait()
        assert len(calls) == 2

    asyncio.run(run())


def test_all_that_are_wanted_can_be_called_at_once_and_are_not_again() -> None:
    async def run() -> None:
        calls: list[str] = []
        wanted, other = (
            MetricsFlusher(lambda: calls.append("wanted")),
            MetricsFlusher(lambda: calls.append("no")),
        )
        other.schedule()
        other.flush()
        wanted.schedule()
        calls.clear()
        MetricsFlusher.flush_all()
        MetricsFlusher.flush_all()
        assert calls == ["wanted"]
        await asyncio.sleep(
            2 * FLUSH_INTERVAL_SECONDS
        )  # a timer that was left would have run by then
        assert calls == ["wanted"]

    asyncio.run(run())
