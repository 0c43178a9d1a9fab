"""Each request gets the answer that it would get alone, whatever is in its batch."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.arrays import Arrays, Images
from service.inference.dynamic_batcher import (
    INLINE_BATCH_SIZE,
    MAX_INLINE_IMAGES_PER_TICK,
    DynamicBatcher,
)
from service.runtime.signature import INPUT, LOGITS, PROBABILITIES

MAX_BATCH = 8
ALL = [LOGITS, PROBABILITIES]


class Network:
    """The released model; it records the size of each run, and can be paused and continued."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.sizes: list[int] = []
        self.running = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def __call__(self, images: Images, outputs: Sequence[str]) -> Arrays:
        self.sizes.append(len(images))
        self.running.set()
        assert self.free.wait(30)
        if (images == 0).all(axis=(1, 2, 3)).any():
            raise ValueError(f"{len(images)} images, and one is empty")
        arrays: Arrays = self.session.run(list(outputs), {INPUT: images})
        return arrays


@pytest.fixture
def network(session: ort.InferenceSession) -> Network:
    return Network(session)


def run(
    network: Network, use: Callable[[DynamicBatcher], Awaitable[None]], inline: int = 0
) -> None:
    async def main() -> None:
        batcher = DynamicBatcher(network, MAX_BATCH, inline)
        await use(batcher)
        await batcher.close()

    asyncio.run(main())


async def held_up(
    network: Network, batcher: DynamicBatcher, images: Images
) -> asyncio.Task[Arrays]:
    """Start a run that lasts until the network continues."""
    network.running.clear()
    network.free.clear()
    first = asyncio.create_task(batcher.infer(images, ALL))
    await asyncio.to_thread(network.running.wait)
    return first


async def asking(
    batcher: DynamicBatcher, requests: Sequence[Images], outputs: Sequence[str] = ALL
) -> list[asyncio.Task[Arrays]]:
    """Queue all of them, in order."""
    tasks = [asyncio.create_task(batcher.infer(images, outputs)) for images in requests]
    await asyncio.sleep(0)  # each runs until it waits
    return tasks


Request = tuple[int, int, list[str], int]  # first image, images, outputs, turns of the loop before
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.integers(1, 3 * MAX_BATCH),
        st.lists(st.sampled_from(ALL), min_size=1, max_size=2, unique=True),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=12,
)


@given(requests=REQUESTS, inline=st.integers(0, 2))
def test_any_interleaving_gives_each_what_it_would_get_alone(
    requests: Sequence[Request],
    inline: int,
    session: ort.InferenceSession,
    images: NDArray[np.uint8],
) -> None:
    """To the last bit: on the CPU a row of the outputs does not depend on the others."""

    async def ask(batcher: DynamicBatcher, request: Request) -> None:
        start, count, outputs, turns = request
        for _ in range(turns):
            await asyncio.sleep(0)
        own = images[start : start + count, None]  # (N, 1, 28, 28)
        found = await batcher.infer(own, outputs)
        expected = session.run(outputs, {INPUT: own})
        assert len(found) == len(expected)
        for array, alone in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, alone)

    async def use(batcher: DynamicBatcher) -> None:
        await asyncio.gather(*(ask(batcher, request) for request in requests))

    network = Network(session)
    run(network, use, inline)
    assert sum(network.sizes) == sum(count for _, count, _, _ in requests)
    assert max(network.sizes) <= MAX_BATCH


def test_what_arrives_while_a_batch_runs_forms_the_next_in_order(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        first = await held_up(network, batcher, images[:1, None])
        tasks = await asking(batcher, [images[:count, None] for count in (3, 2, 4, 1)])
        network.free.set()
        await asyncio.gather(first, *tasks)

    run(network, use)
    assert network.sizes == [1, 5, 5]  # 3 + 2, and 4, which does not fit, is not overtaken by 1


def test_nothing_waits_where_the_network_is_idle(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        for count in (1, 3, 2):
            await batcher.infer(images[:count, None], ALL)

    run(network, use)
    assert network.sizes == [1, 3, 2]


def test_a_large_request_runs_in_pieces_and_lets_others_between(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        large = await held_up(network, batcher, images[: 2 * MAX_BATCH + 3, None])
        (small,) = await asking(batcher, [images[:2, None]])
        network.free.set()
        await small
        assert not large.done()
        logits, _ = await large
        expected = network.session.run([LOGITS], {INPUT: images[: len(logits), None]})[0]
        np.testing.assert_array_equal(logits, expected)

    run(network, use)
    assert network.sizes == [MAX_BATCH, 2, MAX_BATCH, 3]


def test_a_request_that_nobody_waits_for_does_not_run(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        first = await held_up(network, batcher, images[:1, None])
        kept, dropped = await asking(batcher, [images[:2, None], images[:3, None]])
        dropped.cancel()
        first.cancel()  # too late for its run, which must not trip over it
        with pytest.raises(asyncio.CancelledError):
            await dropped
        network.free.set()
        assert len((await kept)[0]) == 2

    run(network, use)
    assert network.sizes == [1, 2]


def test_an_error_goes_to_whose_it_is_alone(network: Network, images: NDArray[np.uint8]) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        first = await held_up(network, batcher, images[:1, None])
        requests = [images[:2, None], np.zeros((1, 1, 28, 28), np.uint8), images[:3, None]]
        tasks = await asking(batcher, requests)
        network.free.set()
        await first
        before, faulty, after = await asyncio.gather(*tasks, return_exceptions=True)
        assert not isinstance(before, BaseException)
        assert not isinstance(after, BaseException)
        assert (len(before[0]), len(after[0])) == (2, 3)
        assert isinstance(faulty, ValueError)
        assert str(faulty) == "1 images, and one is empty"
        await batcher.infer(images[:1, None], ALL)  # and it goes on

    run(network, use)
    assert network.sizes == [1, 6, 2, 1, 3, 1]


def test_few_images_run_on_the_event_loop_and_more_do_not(
    session: ort.InferenceSession, images: NDArray[np.uint8]
) -> None:
    threads: list[str] = []

    def infer(images: Images, outputs: Sequence[str]) -> Arrays:
        threads.append(threading.current_thread().name)
        arrays: Arrays = session.run(list(outputs), {INPUT: images})
        return arrays

    async def main() -> None:
        batcher = DynamicBatcher(infer, MAX_BATCH, inline=2)
        for count in (1, 2, 3):
            await batcher.infer(images[:count, None], ALL)
        await batcher.close()

    asyncio.run(main())
    assert threads[:2] == [threading.main_thread().name] * 2
    assert threads[2].startswith("inference")


def test_few_images_of_many_requests_in_one_turn_run_together(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        requests = [images[start : start + 2, None] for start in range(9)]
        found = await asyncio.gather(*(batcher.infer(request, ALL) for request in requests))
        for request, arrays in zip(requests, found, strict=True):
            for array, alone in zip(
                arrays, network.session.run(ALL, {INPUT: request}), strict=True
            ):
                np.testing.assert_array_equal(array, alone)

    run(network, use, inline=2)
    assert network.sizes == [8, 8, 2]


def test_the_network_waits_for_what_each_turn_brings_and_no_longer(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        tasks = []
        for _ in range(3):
            tasks += await asking(batcher, [images[:1, None]])  # and a turn passes
        await asyncio.gather(*tasks)
        assert network.sizes == [3]
        (late,) = await asking(batcher, [images[:1, None]])
        turns = 0
        while not network.sizes[1:]:
            await asyncio.sleep(0)
            turns += 1
        await late
        assert turns <= 2

    run(network, use, inline=2)
    assert network.sizes == [3, 1]


def test_what_came_in_one_turn_runs_before_any_of_it_is_answered_but_not_without_end(
    session: ort.InferenceSession, images: NDArray[np.uint8]
) -> None:
    network = Network(session)
    runs: list[int] = []  # before each answer

    async def main() -> None:
        batcher = DynamicBatcher(network, INLINE_BATCH_SIZE, inline=INLINE_BATCH_SIZE)

        async def ask() -> None:
            await batcher.infer(images[:INLINE_BATCH_SIZE, None], [LOGITS])
            runs.append(len(network.sizes))

        await asyncio.gather(
            *(ask() for _ in range(MAX_INLINE_IMAGES_PER_TICK // INLINE_BATCH_SIZE + 1))
        )
        await batcher.close()

    asyncio.run(main())
    in_one_turn = MAX_INLINE_IMAGES_PER_TICK // INLINE_BATCH_SIZE
    assert runs[:in_one_turn] == [in_one_turn] * in_one_turn
    assert network.sizes == [INLINE_BATCH_SIZE] * (in_one_turn + 1)


def test_an_error_on_the_event_loop_goes_to_whose_it_is_alone(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def use(batcher: DynamicBatcher) -> None:
        requests = [images[:1, None], np.zeros((1, 1, 28, 28), np.uint8), images[:2, None]]
        before, faulty, after = await asyncio.gather(
            *(batcher.infer(request, ALL) for request in requests), return_exceptions=True
        )
        assert not isinstance(before, BaseException)
        assert not isinstance(after, BaseException)
        assert (len(before[0]), len(after[0])) == (1, 2)
        assert isinstance(faulty, ValueError)

    run(network, use, inline=2)
    assert network.sizes == [4, 1, 1, 2]


def test_the_largest_batch_holds_on_the_event_loop_too(
    session: ort.InferenceSession, images: NDArray[np.uint8]
) -> None:
    network = Network(session)

    async def main() -> None:
        batcher = DynamicBatcher(network, 1, inline=4)
        assert len((await batcher.infer(images[:4, None], ALL))[0]) == 4
        await batcher.close()

    asyncio.run(main())
    assert network.sizes == [1, 1, 1, 1]


def test_closing_answers_what_waits_and_leaves_no_thread(
    network: Network, images: NDArray[np.uint8]
) -> None:
    async def main() -> None:
        batcher = DynamicBatcher(network, MAX_BATCH)
        first = await held_up(network, batcher, images[:1, None])
        (second,) = await asking(batcher, [images[:2, None]])
        closing = asyncio.create_task(batcher.close())
        network.free.set()
        await closing
        assert first.done()
        assert len((await second)[0]) == 2

    asyncio.run(main())
    assert not [thread for thread in threading.enumerate() if "inference" in thread.name]
