"""The table of models in one worker, without a server."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from service.classifier import FashionClassifier
from service.errors import Forbidden, LoadFailed, NotFound, NotReady, Overloaded
from service.inference.data_plane import DataPlane
from service.inference.served_model import ServedModel
from service.runtime.signature import LOGITS
from service.telemetry.request_timing import RequestTiming
from tests.service.many_models import add_model, write_models
from tests.service.models import with_wrong_golden_samples

Make = Callable[..., DataPlane]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def made(**settings: str) -> DataPlane:
        given = {"FASHION_DEVICE": "cpu", "FASHION_MODELS": str(tmp_path), **settings}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return FashionClassifier().data_plane

    return made


@pytest.fixture
def several(tmp_path: Path, make: Make) -> DataPlane:
    write_models(tmp_path)
    return make(FASHION_DEFAULT_MODEL="first", FASHION_MODEL_CONTROL="1")


def states(data_plane: DataPlane) -> dict[tuple[str, str], str]:
    return {(entry.name, entry.version): entry.state for entry in data_plane.index()}


def test_models_are_found_by_name_and_version(several: DataPlane) -> None:
    assert several.served is several.named("first") is several.selected(None)
    assert several.named("second").model.version == "10"
    assert several.named("second", "2").model.version == "2"
    assert several.selected("colour").model.signature.image.shape == (3, 6, 8)
    assert several.names == ["first", "colour", "second"]
    with pytest.raises(NotFound, match=r"no model 'third': there is 'broken', 'colour', 'first'"):
        several.named("third")
    with pytest.raises(NotFound, match=r"no version '3' of second: there is '10', '2'"):
        several.named("second", "3")


def test_a_broken_model_is_not_served_and_says_why(several: DataPlane) -> None:
    with pytest.raises(NotReady, match="golden samples come out wrong"):
        several.named("broken")
    (entry,) = [entry for entry in several.index() if entry.name == "broken"]
    assert entry.state == "UNAVAILABLE"
    assert "golden samples come out wrong" in entry.reason
    assert several.ready_model.name == "first"


def test_a_broken_version_leaves_the_one_below(tmp_path: Path, make: Make) -> None:
    for version in ("1", "2"):
        add_model(tmp_path / "one", version)
    with_wrong_golden_samples(tmp_path / "one" / "2" / "model.onnx")
    data_plane = make()
    assert data_plane.served.model.version == "1"
    with pytest.raises(NotReady, match="golden samples"):
        data_plane.named("one", "2")
    assert states(data_plane) == {("one", "1"): "READY", ("one", "2"): "UNAVAILABLE"}


def test_a_broken_default_model_leaves_the_others(tmp_path: Path, make: Make) -> None:
    data_plane = make(FASHION_DEFAULT_MODEL=write_models(tmp_path) and "broken")
    with pytest.raises(NotReady, match="golden samples"):
        _ = data_plane.ready_model
    assert data_plane.named("first").model.version == "1.0.0"


def test_loads_and_unloads(several: DataPlane, tmp_path: Path) -> None:
    async def change() -> None:
        colour = several.named("colour")
        await several.load("second")  # unchanged
        await several.unload("colour")
        assert colour.model.name == "colour"
        with pytest.raises(NotReady, match="unloaded: a request can load it again"):
            several.named("colour")
        await several.reloading.request_reload()
        assert states(several)["colour", ""] == "UNAVAILABLE"
        await several.load("colour")
        assert several.named("colour") is not colour
        add_model(tmp_path, "third")
        assert states(several)["third", ""] == "UNAVAILABLE"
        await several.reloading.request_reload()  # loads no model that was not served
        with pytest.raises(NotFound):
            several.named("third")
        await several.load("third")
        assert several.named("third").model.version == "1.0.0"
        add_model(tmp_path, "third", "2.0.0")
        await several.load("third")
        assert several.named("third").model.version == "2.0.0"
        with pytest.raises(NotFound, match="no model 'fourth'"):
            await several.load("fourth")
        with pytest.raises(NotFound, match="no model 'fourth'"):
            await several.unload("fourth")

    asyncio.run(change())


def test_a_load_that_fails_changes_nothing(several: DataPlane, tmp_path: Path) -> None:
    async def fail() -> None:
        with pytest.raises(LoadFailed, match=r"'broken' cannot be loaded: .*golden samples"):
            await several.load("broken")
        before = several.named("second")
        add_model(tmp_path / "second", "2")
        with_wrong_golden_samples(tmp_path / "second" / "10" / "model.onnx")
        with pytest.raises(LoadFailed, match="'second' cannot be loaded"):
            await several.load("second")
        assert several.named("second") is before

    asyncio.run(fail())


def test_a_reload_changes_what_has_changed(several: DataPlane, tmp_path: Path) -> None:
    async def reload() -> None:
        colour, second, lower = (
            several.named("colour"),
            several.named("second"),
            several.named("second", "2"),
        )
        add_model(tmp_path, "first", "2.0.0")
        add_model(tmp_path / "second", "11")
        add_model(tmp_path, "broken")  # mended
        (tmp_path / "second" / "2" / "model.onnx").unlink()
        (tmp_path / "colour" / "model.onnx").unlink()
        await several.reloading.request_reload()
        assert several.served.model.version == "2.0.0"
        assert several.named("colour") is colour
        assert several.named("second", "10") is second
        assert several.named("second").model.version == "11"
        assert several.named("broken").model.version == "1.0.0"
        with pytest.raises(NotFound):
            several.named("second", lower.model.version)

    asyncio.run(reload())


def test_control_is_off_unless_it_is_allowed(tmp_path: Path, make: Make) -> None:
    path = add_model(tmp_path, "one")
    with pytest.raises(Forbidden, match="FASHION_MODEL_CONTROL is not 1"):
        asyncio.run(make().load("one"))
    alone = make(FASHION_MODEL=str(path), FASHION_MODEL_CONTROL="1")
    with pytest.raises(Forbidden, match="FASHION_MODEL, one file that is served alone"):
        asyncio.run(alone.unload("one"))


def test_a_request_in_flight_finishes_on_a_model_that_is_unloaded(
    several: DataPlane, images: NDArray[np.uint8]
) -> None:
    async def unload_between() -> weakref.ref[ServedModel]:
        with several.named("second") as used:
            await several.unload("second")
            (found,) = await used.infer(images[:100, None], [LOGITS], RequestTiming())
            assert found.shape == (100, 10)
        return weakref.ref(used)

    gone = asyncio.run(unload_between())
    gc.collect()
    assert gone() is None


def test_memory_is_flat_over_loads_and_unloads(several: DataPlane) -> None:
    process = psutil.Process()

    async def load_and_unload(times: int) -> int:
        for _ in range(times):
            await several.unload("colour")
            await several.load("colour")
        gc.collect()
        resident: int = process.memory_info().rss
        return resident

    before = asyncio.run(load_and_unload(50))
    threads = threading.active_count()
    assert asyncio.run(load_and_unload(200)) - before < 8 * 2**20
    assert threading.active_count() <= threads


def test_a_model_has_half_of_a_workers_requests_while_others_are_served(
    tmp_path: Path, make: Make, images: NDArray[np.uint8]
) -> None:
    write_models(tmp_path)
    data_plane = make(
        FASHION_DEFAULT_MODEL="first", FASHION_MAX_CONCURRENCY="4", FASHION_MODEL_CONTROL="1"
    )

    async def flood() -> None:
        model = data_plane.served
        batch = images[:200, None]
        running = [
            asyncio.create_task(model.infer(batch, [LOGITS], RequestTiming())) for _ in range(2)
        ]
        await asyncio.sleep(0)  # both have begun
        with pytest.raises(Overloaded, match="'first' has 2 requests in flight, its share"), model:
            pass
        with data_plane.named("second") as other:
            await other.infer(batch, [LOGITS], RequestTiming())
        await asyncio.gather(*running)
        for name in ("second", "colour"):
            await data_plane.unload(name)
        more = [model.infer(batch, [LOGITS], RequestTiming()) for _ in range(4)]
        assert len(await asyncio.gather(*more)) == 4

    asyncio.run(flood())


def test_models_are_served_when_their_folder_is_gone(several: DataPlane, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} away"))

    async def change() -> None:
        with pytest.raises(LoadFailed, match="No such file or directory; expected a folder"):
            await several.load("second")
        with pytest.raises(NotFound, match="there is no model 'third'"):
            await several.load("third")
        await several.reloading.request_reload()

    asyncio.run(change())
    assert several.named("second").model.version == "10"
    assert len(several.index()) == 5
