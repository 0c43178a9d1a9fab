"""The metrics of the workers themselves, on a server whose workers die."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.server.worker_metrics import used
from service.telemetry.multiprocess import KINDS
from tests.serving import ROOT, Server, serving, wait_until

PICTURE = (ROOT / "docs" / "images" / "ankle_boot.png").read_bytes()
PNG = {"Content-Type": "image/png"}
NAMES = {
    *("fashion_cpu_seconds_total", "fashion_memory_bytes"),
    *("fashion_worker_restarts", "fashion_start_time_seconds"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("workers")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_WORKERS="2") as server:
        wait_until(lambda: set(told(server)) == NAMES, server)
        yield server


def told(server: Server) -> Mapping[str, float]:
    """The workers' own metrics, which have no label."""
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {sample.name: sample.value for sample in samples if sample.name in NAMES}


def processes(server: Server) -> list[psutil.Process]:
    """The workers, and the processes that decode for them."""
    workers = server.workers()
    below = [child for worker in workers for child in worker.children(recursive=True)]
    return [*workers, *below]


def test_memory_is_that_of_workers_and_decoders(server: Server) -> None:
    def off() -> float:
        right = sum(process.memory_full_info().pss for process in processes(server))
        return abs(told(server)["fashion_memory_bytes"] / right - 1)

    wait_until(lambda: len(processes(server)) > 4, server)  # they are forked meanwhile
    wait_until(lambda: off() < 0.1, server)


def test_cpu_seconds_are_those_of_workers_and_decoders(server: Server) -> None:
    def off() -> float:
        right = sum(sum(process.cpu_times()[:4]) for process in processes(server))
        return abs(told(server)["fashion_cpu_seconds_total"] / right - 1)

    wait_until(lambda: off() < 0.1, server)


def test_cpu_seconds_of_a_decoder_that_ended_are_not_forgotten() -> None:
    """The system keeps these after the parent has waited for the process."""
    before, _ = used()
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert used()[0] - before >= 0.5


def test_the_server_started_when_its_process_did(server: Server) -> None:
    started = psutil.Process(server.process.pid).create_time()
    assert told(server)["fashion_start_time_seconds"] == pytest.approx(started, abs=1)


def test_each_replaced_worker_is_counted_and_what_it_used_is_not_forgotten(server: Server) -> None:
    assert told(server)["fashion_worker_restarts"] == 0
    for restarts in (1, 2):
        before = told(server)
        server.workers()[0].kill()
        wait_until(
            lambda n=restarts: told_or_none(server).get("fashion_worker_restarts") == n, server
        )  # type: ignore[misc]
        after = told(server)
        assert after["fashion_cpu_seconds_total"] >= before["fashion_cpu_seconds_total"]
        assert after["fashion_start_time_seconds"] == before["fashion_start_time_seconds"]


def told_or_none(server: Server) -> Mapping[str, float]:
    """The same, without connections of the worker that died."""
    try:
        return told(server)
    except httpx.TransportError:
        return {}


def test_each_file_of_metrics_has_its_place_on_the_disk(server: Server) -> None:
    """A file that is not allocated grows when written, and on a full disk ends its worker."""
    worker = server.workers()[0]

    def mapped() -> set[str]:
        httpx.post(f"{server.url}/classify", content=PICTURE, headers=PNG, timeout=30)
        files = [Path(place.path) for place in worker.memory_maps() if place.path.endswith(".db")]
        return {path.stem.rpartition("_")[0] for path in files}

    wait_until(lambda: mapped() >= set(KINDS), server)
    assert mapped() == set(KINDS)
