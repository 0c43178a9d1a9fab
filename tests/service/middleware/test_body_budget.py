"""Which body is cancelled if all bodies together are too large."""

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from service.errors import Overloaded
from service.middleware import body_budget
from service.middleware.body_budget import (
    RELEASED_BYTES,
    SMALL_BODY_BYTES,
    STILL_SECONDS,
    Body,
    BodyBudget,
)

LARGE = 2 * SMALL_BODY_BYTES
MOST = 10 * LARGE


def in_a_loop(check: Callable[[Callable[..., Body], list[Body], float], None]) -> None:
    """Call check with a way to make bodies, those given up, and the time, which stands still."""

    async def run() -> None:
        now = 1024.0
        asyncio.get_running_loop().time = lambda: now  # type: ignore[method-assign]
        given_up: list[Body] = []

        def body(age: float = 0.1) -> Body:
            def give_up(error: Overloaded) -> None:
                assert "bytes of request bodies, the maximum is 1,310,720" in str(error)
                given_up.append(made)

            made = Body(now - age, give_up)
            return made

        check(body, given_up, now)

    asyncio.run(run())


def test_a_small_body_always_fits() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        budget.hold(body(), MOST, whole=False)
        for _ in range(100):
            budget.hold(body(), SMALL_BODY_BYTES, whole=True)
        assert given_up == []
        assert budget.bytes == MOST + 100 * SMALL_BODY_BYTES

    in_a_loop(check)


def test_what_stands_still_goes_first_and_then_what_is_slowest() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        fast, slow, still = body(1), body(10), body(1)
        for one in (fast, slow, still):
            budget.hold(one, MOST // 3, whole=False)
        still.last -= STILL_SECONDS + 1
        budget.hold(body(0.01), LARGE, whole=False)
        assert given_up == [still]
        assert still.bytes == 0
        budget.hold(body(0.01), MOST // 3, whole=False)
        assert given_up == [still, slow]
        assert budget.bytes == 2 * (MOST // 3) + LARGE

    in_a_loop(check)


def test_what_stood_still_for_as_long_as_it_may_is_not_given_up_for_that() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        still, slow = body(1), body(10)
        for one in (still, slow):
            budget.hold(one, MOST // 2, whole=False)
        still.last -= STILL_SECONDS
        budget.hold(body(0.01), LARGE, whole=False)
        assert given_up == [slow]

    in_a_loop(check)


def test_what_has_just_begun_is_not_the_slowest() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        before = body(0.1)
        budget.hold(before, MOST, whole=False)
        budget.hold(body(0), LARGE, whole=False)
        assert given_up == [before]

    in_a_loop(check)


def test_who_is_the_slowest_is_refused_itself() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        budget.hold(body(0.1), MOST, whole=False)
        late = body(100)
        with pytest.raises(Overloaded, match="bytes of request bodies, the maximum is 1,310,720"):
            budget.hold(late, LARGE, whole=False)
        assert (given_up, late.bytes, budget.bytes) == ([], 0, MOST)

    in_a_loop(check)


def test_what_is_whole_is_never_given_up_for_another() -> None:
    def check(body: Callable[..., Body], given_up: list[Body], now: float) -> None:
        budget = BodyBudget(MOST)
        whole = body(1000)
        budget.hold(whole, LARGE, whole=False)
        budget.hold(whole, MOST - LARGE, whole=True)
        with pytest.raises(Overloaded):
            budget.hold(body(0.01), LARGE, whole=False)
        budget.release(whole)
        assert (given_up, budget.bytes) == ([], 0)

    in_a_loop(check)


def test_what_refers_to_a_large_body_in_a_circle_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like an error that refers to its own frame; Python's collector rarely runs."""
    monkeypatch.setattr(body_budget, "RELEASED_SECONDS", 0.0)

    class Circle:
        def __init__(self) -> None:
            self.itself = self

    async def run() -> None:
        kept = weakref.ref(Circle())
        assert kept() is not None
        budget = BodyBudget(2 * RELEASED_BYTES)
        body = Body(0.0, lambda error: None)
        budget.hold(body, RELEASED_BYTES, whole=True)
        budget.release(body)
        await asyncio.sleep(0.01)
        assert kept() is None

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_freed_memory_is_given_back_once_after_a_mebibyte_of_large_bodies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: list[None] = []
    monkeypatch.setattr(body_budget, "RELEASED_SECONDS", 0.0)
    monkeypatch.setattr(body_budget, "give_back_freed", lambda: given_back.append(None))

    async def run() -> None:
        budget = BodyBudget(2 * RELEASED_BYTES)

        async def times_after(*sizes: int) -> int:
            for size in sizes:
                body = Body(0.0, lambda error: None)
                budget.hold(body, size, whole=True)
                budget.release(body)
            await asyncio.sleep(0.01)
            return len(given_back)

        large = SMALL_BODY_BYTES + 1
        for before in range(2):
            assert await times_after(RELEASED_BYTES - large - 1, SMALL_BODY_BYTES) == before
            assert await times_after(large) == before
            assert await times_after(large, large) == before + 1
        assert await times_after(RELEASED_BYTES, large) == 3

    asyncio.run(run())
