"""What is told a little later: once for all that want it, and at once when somebody looks."""

import asyncio

from service.telemetry.flusher import TELL_SECONDS, Telling


def test_it_is_called_a_little_later_and_once() -> None:
    async def run() -> None:
        told = asyncio.Event()
        calls: list[float] = []
        loop = asyncio.get_running_loop()
        start = loop.time()
        telling = Telling(lambda: (calls.append(loop.time()), told.set()))
        for _ in range(20):
            telling.soon()
        assert not calls
        async with asyncio.timeout(20 * TELL_SECONDS):
            await told.wait()
            assert calls[0] - start >= TELL_SECONDS
            told.clear()
            telling.soon()
            await told.wait()
        assert len(calls) == 2

    asyncio.run(run())


def test_all_that_are_wanted_can_be_called_at_once_and_are_not_again() -> None:
    async def run() -> None:
        calls: list[str] = []
        wanted, other = Telling(lambda: calls.append("wanted")), Telling(lambda: calls.append("no"))
        other.soon()
        other.now()
        wanted.soon()
        calls.clear()
        Telling.all_now()
        Telling.all_now()
        assert calls == ["wanted"]
        await asyncio.sleep(2 * TELL_SECONDS)  # a timer that was left would have run by then
        assert calls == ["wanted"]

    asyncio.run(run())
