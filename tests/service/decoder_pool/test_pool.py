"""Images that are not small and plain are decoded in processes with limits, which may end."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.decoder_pool.messages import pack_failure, unpack_answer
from service.decoder_pool.pool import PROCESSES, Decoders
from service.errors import DecoderError, InvalidInput, Overloaded, TooLarge
from service.preprocessing.decoding import Job, decode
from service.preprocessing.pipeline import Mode
from tests.hostile.jpeg import BUSY
from tests.hostile.png import RGBA, header, png
from tests.hostile.tiff import jpeg_of_many_scans_in_tiles
from tests.service.asgi_host import SECONDS
from tests.service.pictures import FASHION, encode, photograph, png_header, save
from tests.serving import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no fork")

MANY_PIXELS = 64_000_000


def one(content: bytes, mode: Mode = "auto") -> Job:
    return Job([content], [], MANY_PIXELS, FASHION, mode)


@asynccontextmanager
async def started() -> AsyncIterator[Decoders]:
    decoders = Decoders()
    decoders.start()
    try:
        yield decoders
    finally:
        await decoders.close()


def run(test: Callable[[Decoders], Coroutine[Any, Any, None]]) -> None:
    """Run a test with decoders on a loop of its own; no process is left behind."""

    async def with_decoders() -> None:
        async with started() as decoders:
            await test(decoders)

    asyncio.run(with_decoders())
    assert processes() == []


def fork_servers() -> list[psutil.Process]:
    """Those of this process, which may have other children: servers that other tests use."""
    children = psutil.Process().children()
    return [one for one in children if "service.decoder_pool.process" in one.cmdline()]


def processes() -> list[psutil.Process]:
    """The fork servers and those that decode."""
    return [one for server in fork_servers() for one in (server, *server.children())]


def decoding() -> list[psutil.Process]:
    """Those that decode, once all are there."""
    (server,) = fork_servers()
    return server.children()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def photographs(images: NDArray[np.uint8]) -> list[bytes]:
    """One of each of the first test images."""
    random = np.random.default_rng(3)
    return [photograph(image, random) for image in images[:12]]


HUGE_WEBP = save(Image.new("RGBA", (4200, 4200)), "WEBP", lossless=True)  # 12 bytes a pixel


def test_they_see_what_is_seen_in_this_process(photographs: list[bytes]) -> None:
    large = save(Image.effect_noise((2000, 1500), 60), "PNG")

    async def test(decoders: Decoders) -> None:
        for content in (*photographs, large):
            for mode in ("auto", "raw", "photo"):
                (found,) = await decoders.decode(one(content, mode))
                (expected,) = decode(one(content, mode))
                np.testing.assert_array_equal(found.pixels, expected.pixels)
                assert found.preprocessing == expected.preprocessing

    run(test)


def test_a_form_is_seen_in_order(photographs: list[bytes]) -> None:
    job = Job(photographs, [str(n) for n in range(len(photographs))], MANY_PIXELS, FASHION)

    async def test(decoders: Decoders) -> None:
        found = await decoders.decode(job)
        expected = decode(job)
        np.testing.assert_array_equal([f.pixels for f in found], [e.pixels for e in expected])

    run(test)


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"text", InvalidInput, "is not a PNG"),
        (png_header(300, 300), InvalidInput, "is broken or cut off"),
        (png_header(60_000, 60_000), TooLarge, "3,600,000,000 pixels"),
        (HUGE_WEBP, TooLarge, "takes more than 160 MiB of memory to decode: send a smaller one"),
        (png(head=header(8000, 7900, 8, RGBA)), TooLarge, "takes more than 160 MiB of memory"),
        (BUSY[0].content(), TooLarge, "not read in 2 s of CPU time: save it again"),
        (jpeg_of_many_scans_in_tiles(100_000), TooLarge, "not read in 2 s of CPU time"),
    ],
    ids=["no picture", "broken", "pixels", "WebP", "PNG", "scans", "tiles"],
)
def test_what_cannot_be_decoded_is_refused_and_the_next_is_not(
    content: bytes, error: type[Exception], says: str, photographs: list[bytes]
) -> None:
    async def test(decoders: Decoders) -> None:
        with pytest.raises(error, match=says):
            await decoders.decode(one(content))
        for photo in photographs:
            await decoders.decode(one(photo))

    run(test)


def test_the_picture_of_a_form_is_named(photographs: list[bytes]) -> None:
    job = Job([photographs[0], HUGE_WEBP[:-9]], ["a", "b.webp"], MANY_PIXELS, FASHION)

    async def test(decoders: Decoders) -> None:
        with pytest.raises(InvalidInput, match=r"images\[1\] 'b.webp': the image"):
            await decoders.decode(job)

    run(test)


def test_a_process_that_is_killed_costs_its_own_request(photographs: list[bytes]) -> None:
    busy = one(BUSY[0].content())

    async def test(decoders: Decoders) -> None:
        await decoders.decode(one(photographs[0]))
        await until(lambda: len(decoding()) == sum(PROCESSES.values()))
        idle = decoding()
        task = asyncio.ensure_future(decoders.decode(busy))
        await until(lambda: any(p.cpu_times().user > 0.2 for p in idle))
        max(idle, key=lambda p: p.cpu_times().user).kill()
        with pytest.raises(Overloaded, match="the system has ended the process that decoded"):
            await task
        for process in idle:
            if process.is_running():
                process.kill()
        (server,) = fork_servers()  # it reports a death after it has waited for the process
        await until(
            lambda: (
                not any(p.is_running() for p in idle) and server.status() == psutil.STATUS_SLEEPING
            )
        )
        for photo in photographs:
            await decoders.decode(one(photo))

    run(test)


def test_without_their_fork_server_they_are_started_again(photographs: list[bytes]) -> None:
    async def test(decoders: Decoders) -> None:
        await decoders.decode(one(photographs[0]))
        those = processes()
        for process in those:
            process.kill()
        psutil.wait_procs(those, SECONDS)
        for photo in photographs:
            await decoders.decode(one(photo))

    run(test)


def test_small_pictures_do_not_wait_for_large_ones(photographs: list[bytes]) -> None:
    busy = one(BUSY[0].content())

    async def test(decoders: Decoders) -> None:
        tasks = [asyncio.ensure_future(decoders.decode(busy)) for _ in range(4)]
        for photo in photographs:
            await decoders.decode(one(photo))
        assert not any(task.done() for task in tasks[2:])
        for task in tasks:
            task.cancel()

    run(test)


def test_of_those_that_wait_the_smallest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROCESSES, b"l", 1)  # two would finish in any order
    busy = one(BUSY[0].content())
    contents = [save(Image.effect_noise((side, side), 60), "PNG") for side in (1000, 900, 760)]
    order: list[int] = []

    async def test(decoders: Decoders) -> None:
        async def note(content: bytes) -> None:
            await decoders.decode(one(content))
            order.append(len(content))

        held = asyncio.ensure_future(decoders.decode(busy))
        await asyncio.gather(held, *map(note, contents), return_exceptions=True)

    run(test)
    assert order == sorted(map(len, contents))


def test_who_leaves_while_he_waits_costs_nothing_and_breaks_nothing(
    photographs: list[bytes],
) -> None:
    busy = one(BUSY[0].content())

    async def test(decoders: Decoders) -> None:
        await decoders.decode(one(photographs[0]))
        tasks = [asyncio.ensure_future(decoders.decode(busy)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        large = one(save(Image.effect_noise((900, 900), 60), "PNG"))  # waits for two of them
        (found,) = await decoders.decode(large)
        np.testing.assert_array_equal(found.pixels, decode(large)[0].pixels)

    run(test)


def test_signals_to_a_terminals_programs_do_not_end_them(photographs: list[bytes]) -> None:
    async def test(decoders: Decoders) -> None:
        await decoders.decode(one(photographs[0]))
        before = processes()
        for process in before:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                process.send_signal(number)
        for photo in photographs:
            await decoders.decode(one(photo))
        assert processes() == before

    run(test)


PROGRAM = """
import asyncio, sys
from service.decoder_pool.pool import Decoders
from service.preprocessing.decoding import Job
from tests.service.pictures import FASHION

async def main():
    decoders = Decoders()
    decoders.start()
    await decoders.decode(Job([sys.stdin.buffer.read()], [], 10**6, FASHION))
    print("ready", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_they_end_with_a_worker_that_is_killed(photographs: list[bytes]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(photographs[0])
        worker.stdin.close()
        assert worker.stdout.readline() == b"ready\n"
        left = psutil.Process(worker.pid).children(recursive=True)
        assert len(left) > PROCESSES[b"s"]
        worker.kill()
    assert psutil.wait_procs(left, SECONDS)[1] == []


def test_they_know_no_key(photographs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_API_KEY", "secret")

    async def test(decoders: Decoders) -> None:
        await decoders.decode(one(photographs[0]))
        for process in processes():
            assert "FASHION_API_KEY" not in process.environ()

    run(test)


def test_an_error_of_ours_is_raised_in_the_worker() -> None:
    with pytest.raises(DecoderError, match="ZeroDivisionError"):
        unpack_answer(pack_failure("ZeroDivisionError: division by zero"), FASHION)


def test_without_processes_pictures_are_decoded_in_threads(ankle_boot: NDArray[np.uint8]) -> None:
    (seen,) = asyncio.run(Decoders().decode(one(encode(ankle_boot, "TIFF"))))
    np.testing.assert_array_equal(seen.pixels, ankle_boot[None])
