"""A model in use whose runs fail: once, or from then on. ONNX Runtime's failures are real."""

import asyncio
import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.inference.served_model import CPU_BATCH, INLINE_IMAGES, ServedModel
from service.runtime.cuda import CUDA
from service.runtime.gpu_network import GpuNetwork
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.onnx_session import cpu_session
from service.runtime.signature import PROBABILITIES
from service.settings import RELEASED_MODEL, ServiceSettings
from service.telemetry.request_timing import RequestTiming
from tests.service.models import (
    failing_at_the_ninth_run,
    failing_on_a_lit_corner,
    write_model,
)

OUT_OF_BOUNDS = "indices element out of data bounds"


def served(path: Path, lost: list[str]) -> ServedModel:
    model = load_model(ServiceSettings(model=path, device="cpu"))
    return ServedModel(model, max_batch=1024, on_model_failed=lost.append)


def lit_corners(count: int) -> NDArray[np.uint8]:
    images = np.zeros((count, 1, 28, 28), np.uint8)
    images[:, 0, 0, 0] = 1
    return images


@pytest.mark.parametrize("count", [1, INLINE_IMAGES + 1], ids=["inline", "in a batch"])
def test_one_bad_run_is_its_request_s_alone(count: int, tmp_path: Path) -> None:
    lost: list[str] = []
    model = served(failing_on_a_lit_corner(tmp_path / "model.onnx"), lost)
    good = np.zeros((count, 1, 28, 28), np.uint8)

    async def run_all() -> list[object]:
        images = (good, lit_corners(count), good)
        asked = [model.infer(one, [PROBABILITIES], RequestTiming()) for one in images]
        found: list[object] = await asyncio.gather(*asked, return_exceptions=True)
        found.append(await model.infer(good, [PROBABILITIES], RequestTiming()))
        await model.close()
        return found

    first, bad, *rest = asyncio.run(run_all())
    assert isinstance(bad, Exception)
    assert OUT_OF_BOUNDS in str(bad)
    for right in (first, *rest):
        assert isinstance(right, list)
        assert right[0].shape == (count, 10)
    assert not lost


def test_a_model_that_fails_its_check_then_is_lost(tmp_path: Path) -> None:
    lost: list[str] = []
    model = served(failing_at_the_ninth_run(tmp_path / "model.onnx"), lost)
    image = np.zeros((1, 1, 28, 28), np.uint8)

    async def run() -> None:
        for _ in range(9):
            await model.infer(image, [PROBABILITIES], RequestTiming())
            assert not lost

    with pytest.raises(Exception, match=OUT_OF_BOUNDS):
        asyncio.run(run())
    (why,) = lost
    assert why.startswith("the model cannot be run on CPUExecutionProvider: ")


def test_a_version_cannot_forge_a_header(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", version="1.0 X-Forged: é")
    watch = RequestTiming()
    images = np.zeros((1, 1, 28, 28), np.uint8)
    asyncio.run(served(path, []).infer(images, [PROBABILITIES], watch))
    assert watch.model_version == b"1.0?X-Forged:??"


def test_on_the_cpu_large_requests_run_in_pieces_that_fit_its_caches() -> None:
    model = served(RELEASED_MODEL, [])
    timing = RequestTiming()

    async def run() -> None:
        images = np.zeros((2 * CPU_BATCH + 1, 1, 28, 28), np.uint8)
        (found,) = await model.infer(images, [PROBABILITIES], timing)
        assert found.shape == (len(images), 10)
        await model.close()

    asyncio.run(run())
    sizes = [size for _, size in timing.runs]
    assert sizes == [CPU_BATCH, CPU_BATCH, 1]


def test_beside_a_gpu_small_requests_run_on_the_event_loop_and_large_ones_whole() -> None:
    model = load_model(ServiceSettings(device="cpu"))
    model.use_gpu(GpuNetwork.open(RELEASED_MODEL.read_bytes(), 1024, cpu_session))
    model.smallest_on_gpu = 8
    used = ServedModel(model, 1024, [].append)
    timing = RequestTiming()

    async def run() -> None:
        for count in (7, 8, 1000):
            images = np.zeros((count, 1, 28, 28), np.uint8)
            (found,) = await used.infer(images, [PROBABILITIES], timing)
            assert found.shape == (count, 10)
        await used.close()

    asyncio.run(run())
    assert [size for _, size in timing.runs] == [7, 8, 1000]


def test_a_gpu_that_is_lost_ends_its_worker() -> None:
    model = load_model(ServiceSettings(device="cpu"))
    session = cpu_session(RELEASED_MODEL.read_bytes())
    model.use_gpu(GpuNetwork({1024: session}))
    model.smallest_on_gpu = 8
    lost: list[str] = []
    used = ServedModel(model, 1024, lost.append)

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=a")

    session.run = fail

    async def run(count: int) -> None:
        images = np.zeros((count, 1, 28, 28), np.uint8)
        await used.infer(images, [PROBABILITIES], RequestTiming())

    asyncio.run(run(7))
    assert not lost
    with pytest.raises(RuntimeError, match="CUDA failure 719"):
        asyncio.run(run(8))
    (why,) = lost
    assert why == f"the model cannot be run on {CUDA}: CUDA failure 719: unspecified launch failure"


@pytest.mark.parametrize("watch", [False, True])
def test_a_model_goes_with_its_last_request_and_waits_for_no_collection(watch: bool) -> None:
    """Objects that exist when a worker starts are never collected, and GPU memory is scarce."""

    async def run() -> weakref.ref[OnnxModel]:
        model = load_model(ServiceSettings(device="cpu"))
        used = ServedModel(model, 1024, [].append, watch)
        await used.infer(np.zeros((1, 1, 28, 28), np.uint8), [PROBABILITIES], RequestTiming())
        await used.close()
        return weakref.ref(model)

    gc.disable()
    try:
        assert asyncio.run(run())() is None
    finally:
        gc.enable()


async def other_tasks() -> None:
    """Wait until the event loop has no other task than this one."""
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0)


def test_a_retired_model_is_closed_when_its_last_user_lets_go() -> None:
    images = np.zeros((1, 1, 28, 28), np.uint8)
    model = served(RELEASED_MODEL, [])

    async def run() -> list[bool]:
        is_open = []
        with model:
            with model:
                model.retire()
            await asyncio.sleep(0)  # for a close that has begun
            await model.infer(images, [PROBABILITIES], RequestTiming())
            is_open.append(hasattr(model.model, "session"))
        await other_tasks()
        is_open.append(hasattr(model.model, "session"))
        return is_open

    assert asyncio.run(run()) == [True, False]


def test_a_retired_model_without_users_is_closed_at_once() -> None:
    model = served(RELEASED_MODEL, [])

    async def run() -> None:
        model.retire()
        await other_tasks()

    asyncio.run(run())
    assert not hasattr(model.model, "session")
