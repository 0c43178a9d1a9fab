"""SIGHUP replaces the served model while requests continue."""

import asyncio
import gc
import hashlib
import http.client
import re
import shutil
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from service.classifier import FashionClassifier
from service.errors import NotReady
from service.inference.data_plane import DataPlane
from service.inference.reloader import ModelReloader
from service.runtime.signature import LOGITS
from service.telemetry.request_timing import RequestTiming
from tests.pages import blocks
from tests.service.models import computing_for_ever, with_wrong_golden_samples, write_model
from tests.service.pictures import encode
from tests.serving import ROOT, SERVE, Server, serving, start, wait_until
from tests.traffic import traffic

PAGE = ROOT / "docs" / "operations.md"
WORKERS = 2
SECONDS = 600
MODEL = "/v2/models/fashion_lenet"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the server serves."""
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def reloadable(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"FASHION_MODEL": str(model), "FASHION_WORKERS": str(WORKERS)}
    with serving(tmp_path_factory.mktemp("server"), FASHION_DEVICE="cpu", **settings) as server:
        yield server


def replace(model: Path, version: str) -> None:
    write_model(model.with_suffix(".new"), version=version).replace(model)


def metric(server: Server, name: str) -> dict[str, int]:
    """The values of a metric by the label that its name ends with."""
    text = httpx.get(f"{server.url}/metrics").text
    found = re.findall(rf'^fashion_model{name}="([^"]*)"[^}}]*}} (\d+)', text, re.M)
    return {label: int(value) for label, value in found}


def reloads(server: Server) -> dict[str, int]:
    return {
        "changed": 0,
        "unchanged": 0,
        "kept": 0,
        **metric(server, '_reloads_total{model="fashion_lenet",result'),
    }


def reload(server: Server, result: str) -> None:
    """Reload all workers, and wait until they are done."""
    expected = reloads(server)[result] + WORKERS
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads(server)[result] == expected, server)


def test_no_request_fails_while_models_change(
    model: Path, reloadable: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    before = [worker.pid for worker in reloadable.workers()]
    versions = [f"2.0.{number}" for number in range(8)]
    with traffic(reloadable, encode(ankle_boot)) as seen:
        for version in versions:
            replace(model, version)
            reload(reloadable, "changed")
            wait_until(lambda version=version: version in seen.versions, reloadable)  # type: ignore[misc]
    assert not seen.failures
    assert not seen.faults
    assert seen.statuses == {200}
    assert set(versions) <= seen.versions
    assert [worker.pid for worker in reloadable.workers()] == before


def test_a_file_with_the_same_content_is_unchanged_and_the_log_has_its_digest(
    model: Path, reloadable: Server
) -> None:
    replace(model, "2.1.0")
    reload(reloadable, "changed")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert reloadable.log().count(f"SHA-256 of {model}: {digest}") == WORKERS
    same = model.with_suffix(".same")
    shutil.copy(model, same)
    same.replace(model)
    logged = len(reloadable.log())
    reload(reloadable, "unchanged")
    said = f"The model is not changed: {model} has the same content as before"
    wait_until(lambda: reloadable.log()[logged:].count(said) == WORKERS, reloadable)


def test_what_is_served_is_told_everywhere(
    model: Path, reloadable: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    replace(model, "3.0.0")
    expected = reloads(reloadable)["changed"] + WORKERS
    (command,) = [block for block in blocks(PAGE.read_text(), "sh") if block.startswith("kill ")]
    command = command.replace("PID_OF_BENTOML_SERVE", str(reloadable.process.pid))
    subprocess.run(["/bin/sh", "-c", command], check=True)
    wait_until(lambda: reloads(reloadable)["changed"] == expected, reloadable)
    with httpx.Client(base_url=reloadable.url) as client:
        assert client.get("/readyz").json()["model"]["version"] == "3.0.0"
        assert client.get(MODEL).json()["versions"] == ["3.0.0"]
        assert client.get(f"{MODEL}/versions/1.1.0/ready").status_code == 404
        images = {"images": ankle_boot[None, None].tolist()}
        assert client.post("/predict", json=images).headers["X-Model-Version"] == "3.0.0"
        tensor = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "UINT8"}
        request = {"inputs": [{**tensor, "data": ankle_boot.ravel().tolist()}]}
        answer = client.post(f"{MODEL}/infer", json=request)
        assert answer.json()["model_version"] == answer.headers["X-Model-Version"] == "3.0.0"
        assert "X-Model-Version" not in client.get("/livez").headers
    served = metric(reloadable, r'{device="cpu",name="fashion_lenet",version')
    assert {version for version, value in served.items() if value} == {"3.0.0"}


def test_an_upload_that_has_begun_is_answered_by_the_model_it_named(
    model: Path, reloadable: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    replace(model, "3.1.0")
    reload(reloadable, "changed")
    tensor = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "UINT8"}
    body = orjson.dumps({"inputs": [{**tensor, "data": ankle_boot.ravel().tolist()}]})
    connection = http.client.HTTPConnection("127.0.0.1", reloadable.port, timeout=SECONDS)
    with closing(connection):
        connection.putrequest("POST", f"{MODEL}/versions/3.1.0/infer")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:-1])
        replace(model, "3.2.0")
        reload(reloadable, "changed")
        assert httpx.get(f"{reloadable.url}{MODEL}/versions/3.1.0/ready").status_code == 404
        connection.send(body[-1:])
        answer = connection.getresponse()
        assert answer.status == 200
        assert orjson.loads(answer.read())["model_version"] == "3.1.0"
        assert answer.headers["X-Model-Version"] == "3.1.0"


def test_a_file_that_changes_or_vanishes_changes_nothing_before(
    model: Path, reloadable: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    replace(model, "4.0.0")
    reload(reloadable, "changed")
    with traffic(reloadable, encode(ankle_boot)) as seen:
        for change in (model.unlink, lambda: model.write_bytes(b""), lambda: replace(model, "5")):
            change()
            count = seen.answers.total()
            wait_until(lambda count=count: seen.answers.total() > count + 20, reloadable)  # type: ignore[misc]
    assert not seen.failures
    assert set(seen.answers) == {(200, "4.0.0")}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "cannot read the model .*: No such file"),
        (lambda model: model.write_bytes(b"no model"), "the model is not an ONNX model"),
        (with_wrong_golden_samples, "golden samples come out wrong"),
        (lambda model: write_model(model, labels=None), "metadata has no labels"),
    ],
    ids=["missing", "broken", "wrong", "without labels"],
)
def test_a_model_with_a_fault_is_not_taken_and_the_log_says_why(
    spoil: Callable[[Path], object],
    why: str,
    model: Path,
    reloadable: Server,
    ankle_boot: NDArray[np.uint8],
) -> None:
    replace(model, f"6.0.{len(why)}")
    reload(reloadable, "changed")
    spoil(model)
    logged = len(reloadable.log())
    with traffic(reloadable, encode(ankle_boot)) as seen:
        reload(reloadable, "kept")
    assert not seen.failures
    assert set(seen.answers) == {(200, f"6.0.{len(why)}")}
    lines = [
        line for line in reloadable.log()[logged:].splitlines() if not line.startswith("time=")
    ]
    told = [line for line in lines if re.search(f"The model is not changed: .*{why}", line)]
    assert len(told) == WORKERS
    assert "Traceback" not in reloadable.log()


def test_a_worker_that_is_starting_reloads_when_it_has(tmp_path: Path) -> None:
    settings = {"FASHION_MODEL": str(write_model(tmp_path / "model.onnx"))}
    server = start(tmp_path, SERVE, ROOT, {**settings, "FASHION_DEVICE": "cpu"})
    try:
        wait_until(server.workers, server, 60)
        (worker,) = server.workers()
        server.process.send_signal(signal.SIGHUP)
        runs = "[entry_service:FashionClassifier:1] Model fashion_lenet 1.1.0 runs"
        wait_until(lambda: "The model is not changed" in server.log(), server, 60)
        assert server.log().count(runs) == 1
        assert server.workers() == [worker]
        assert server.stop() == 0
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def data_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    monkeypatch.setenv("FASHION_DEVICE", "cpu")
    monkeypatch.setenv("FASHION_MODEL", str(write_model(tmp_path / "model.onnx", version="1")))
    return FashionClassifier().data_plane


def test_who_has_begun_is_answered_by_the_old_model_and_then_it_is_gone(
    data_plane: DataPlane, images: NDArray[np.uint8]
) -> None:
    async def reload_between() -> weakref.ref[object]:
        with data_plane.served as old:
            await old.infer(images[:100, None], [LOGITS], RequestTiming())  # starts its thread
            write_model(data_plane.settings.model, version="2")
            await data_plane.reloading.request_reload()
            assert data_plane.model.version == "2"
            watch = RequestTiming()
            await old.infer(images[:100, None], [LOGITS], watch)
        assert (old.model.version, watch.model_version) == ("1", b"1")
        return weakref.ref(old)

    threads = threading.active_count()
    gone = asyncio.run(reload_between())
    gc.collect()
    assert gone() is None
    for thread in threading.enumerate():
        if thread.name.startswith("inference"):
            thread.join(10)  # told to end when its batches went
    assert threading.active_count() <= threads


def test_a_worker_without_a_model_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_wrong_golden_samples(tmp_path / "model.onnx")
    monkeypatch.setenv("FASHION_DEVICE", "cpu")
    monkeypatch.setenv("FASHION_MODEL", str(model))
    data_plane = FashionClassifier().data_plane
    with pytest.raises(NotReady, match="golden samples come out wrong"):
        _ = data_plane.model
    write_model(model, version="7")

    asyncio.run(ask_once(data_plane))
    assert data_plane.ready_model.version == "7"


def test_asked_during_a_reload_it_reloads_again(data_plane: DataPlane) -> None:
    async def ask_twice() -> None:
        task = data_plane.reloading.request_reload()
        await asyncio.sleep(0)  # the first has begun
        write_model(data_plane.settings.model, version="8")
        assert data_plane.reloading.request_reload() is task
        await task

    asyncio.run(ask_twice())
    assert data_plane.model.version == "8"


def test_a_model_that_computes_for_ever_is_not_taken_and_the_next_one_is(
    data_plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runtime.onnx_model.CHECK_SECONDS", 0.5)
    computing_for_ever(data_plane.settings.model)
    asyncio.run(ask_once(data_plane))
    assert data_plane.model.version == "1"
    write_model(data_plane.settings.model, version="9")
    asyncio.run(ask_once(data_plane))
    assert data_plane.model.version == "9"


def test_a_file_that_does_not_end_is_not_waited_for(
    data_plane: DataPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a network file system that is gone."""
    asked = threading.Event()
    monkeypatch.setattr("service.inference.reloader.LOAD_SECONDS", 0.5)
    monkeypatch.setattr("service.inference.model_loader.read_model", lambda _: asked.wait())
    model = data_plane.settings.model
    with caplog.at_level("ERROR", "bentoml.fashion_lenet"):
        asyncio.run(ask_once(data_plane))
    assert "The model is not changed: the model is not loaded after" in caplog.text
    write_model(model, version="10")
    monkeypatch.undo()
    asyncio.run(ask_once(data_plane))
    assert data_plane.model.version == "10"


def test_a_signal_is_heard_also_one_that_came_before() -> None:
    reloads: list[int] = []

    async def reload() -> None:
        reloads.append(len(reloads))

    async def until(count: int) -> None:
        while len(reloads) < count:
            await asyncio.sleep(0)

    async def signal_twice() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # not to another thread
        ModelReloader(reload).install_signal_handlers()
        await until(1)
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        await until(2)

    asyncio.run(signal_twice())
    assert len(reloads) == 2


async def ask_once(data_plane: DataPlane) -> None:
    await data_plane.reloading.request_reload()
