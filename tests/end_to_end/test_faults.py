"""Faults while a server is under load: of a worker, a run, the device, the disk."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.service.models import failing_at_the_ninth_run, failing_on_a_lit_corner
from tests.service.pictures import encode
from tests.serving import SERVE, Server, serving, wait_until
from tests.traffic import traffic

PNG = {"Content-Type": "image/png"}
BLANK = np.zeros((28, 28), np.uint8)
SECONDS = 600
FULL = (*("bash", "-c", 'exec "$@" > /dev/full 2>&1', "bash"), *SERVE)


def connections(worker: psutil.Process) -> int:
    """How many clients a worker has."""
    return sum(taken.status == psutil.CONN_ESTABLISHED for taken in worker.net_connections("tcp"))


def classify(server: Server, picture: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/classify", content=picture, headers=PNG, timeout=SECONDS)


def counted(server: Server) -> Counter[str]:
    """The requests to /classify so far, by status."""
    text = httpx.get(f"{server.url}/metrics").text
    found = re.findall(
        r'^fashion_requests_total{route="/classify",status="(\d+)"} (\d+)', text, re.M
    )
    return Counter({status: int(count) for status, count in found})


def test_a_worker_killed_under_load_loses_its_own_requests_alone_and_is_replaced(
    tmp_path: Path,
) -> None:
    settings = {"FASHION_WORKERS": "2", "FASHION_DEVICE": "cpu"}
    # In a container BentoML itself replaces none.
    with serving(tmp_path, BENTOML_CONTAINERIZED="true", **settings) as server:
        with traffic(server, encode(BLANK)) as seen:
            before = server.workers()
            victim = max(before, key=connections)
            most = connections(victim)
            assert most > 0
            victim.kill()
            wait_until(lambda: not victim.is_running() or victim.status() == "zombie", server)
            count = seen.answers.total()
            wait_until(lambda: seen.answers.total() > count + 100, server)  # the other goes on
            wait_until(lambda: len(set(server.workers()) - set(before)) == 1, server)
            wait_until(lambda: server.log().count("FashionClassifier initialized") == 3, server)
        assert len(seen.failures) <= most
        assert seen.statuses == {200}
        assert len(server.workers()) == 2
        with traffic(server, encode(BLANK)) as seen:
            wait_until(lambda: seen.answers.total() > 100, server)
        assert not seen.failures
        wait_until(
            lambda: 'fashion_model{device="cpu"' in httpx.get(f"{server.url}/metrics").text, server
        )
        assert server.stop() == 0


def test_a_worker_that_cannot_be_replaced_is_replaced_when_it_can(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_WORKERS="2") as server:
        parent = psutil.Process(server.process.pid)
        before = parent.rlimit(psutil.RLIMIT_NOFILE)
        victim, other = server.workers()
        parent.rlimit(psutil.RLIMIT_NOFILE, (parent.num_fds() + 1, before[1]))
        victim.kill()
        why = "error in 'service': [Errno 24] Too many open files"
        wait_until(lambda: server.log().count(why) > 20, server)  # five times a second
        assert server.workers() == [other]
        assert classify(server, encode(BLANK)).status_code == 200
        parent.rlimit(psutil.RLIMIT_NOFILE, before)
        wait_until(lambda: len(server.workers()) == 2, server)
        assert server.stop() == 0


def test_a_run_that_fails_is_one_500_with_its_id_logged_and_counted(tmp_path: Path) -> None:
    model = failing_on_a_lit_corner(tmp_path / "model.onnx")
    lit = BLANK.copy()
    lit[0, 0] = 255
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_MODEL=str(model)) as server:
        (worker,) = server.workers()
        mode = {"mode": "raw"}
        identity = {"X-Request-ID": "unlucky"}
        answer = httpx.post(
            f"{server.url}/classify", content=encode(lit), headers=PNG | identity, params=mode
        )
        assert answer.status_code == 500
        assert answer.headers["X-Request-ID"] == "unlucky"
        assert answer.json() == {"error": "the service failed; its log says why, under unlucky"}
        assert classify(server, encode(BLANK)).status_code == 200
        wait_until(lambda: counted(server).total() == 2, server)
        assert counted(server) == Counter({"200": 1, "500": 1})
        assert server.workers() == [worker]
        assert server.stop() == 0
    log = server.log()
    assert log.count("Request unlucky failed:") == 1
    assert log.count("Traceback (most recent call last)") == 1
    assert "indices element out of data bounds" in log


def test_a_worker_whose_model_can_no_longer_be_run_ends_and_another_serves(tmp_path: Path) -> None:
    """As on a GPU that is lost, where every run fails until the process ends."""
    model = failing_at_the_ninth_run(tmp_path / "model.onnx")
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_MODEL=str(model)) as server:
        (worker,) = server.workers()
        statuses = [200]
        while statuses[-1] == 200:
            statuses.append(classify(server, encode(BLANK)).status_code)
        assert statuses[-1] == 500
        assert 4 <= len(statuses[1:-1]) <= 6  # of eight runs, less those at the start
        wait_until(lambda: not worker.is_running(), server)
        assert classify(server, encode(BLANK)).status_code == 200  # waits until it is there
        (other,) = server.workers()
        assert other != worker
        assert server.stop() == 0
    why = "This worker ends, another takes its place: the model cannot be run on CPUExecution"
    assert server.log().count(why) == 1


def test_a_server_whose_log_goes_to_a_full_disk_serves(tmp_path: Path) -> None:
    with serving(tmp_path, command=FULL, FASHION_DEVICE="cpu") as server:
        assert {classify(server, encode(BLANK)).status_code for _ in range(5)} == {200}
        assert classify(server, b"no picture").status_code == 400
        assert server.stop() == 0
        assert server.log() == ""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    unmount = ["umount", "--lazy", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no mounting file systems here")
    try:
        yield folder
    finally:
        subprocess.run(unmount, check=True)


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_is_full_while_a_server_runs_changes_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4M") as disk:
        home = {"BENTOML_HOME": str(disk / "bentoml"), "FASHION_DEVICE": "cpu"}
        with serving(tmp_path, **home) as server:
            fill(disk)
            (worker,) = server.workers()
            assert {classify(server, encode(BLANK)).status_code for _ in range(5)} == {200}
            assert classify(server, b"no picture").status_code == 400
            wait_until(lambda: counted(server) == Counter({"200": 5, "400": 1}), server)
            assert server.workers() == [worker]
            worker.kill()
            wait_until(lambda: not worker.is_running(), server)
            assert classify(server, encode(BLANK)).status_code == 200  # another, without its files
            wait_until(lambda: counted(server)["200"] > 0, server)
            assert server.stop() == 0
    assert server.log().count("Each worker counts for itself in /metrics: [Errno 28]") == 1


def test_a_server_starts_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256K") as disk:
        fill(disk)
        home = {"BENTOML_HOME": str(disk / "bentoml"), "FASHION_DEVICE": "cpu"}
        with serving(tmp_path, **home) as server:
            assert classify(server, encode(BLANK)).status_code == 200
            wait_until(lambda: counted(server) == Counter({"200": 1}), server)
            assert server.stop() == 0


READ_ONLY = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$BENTOML_HOME"
mount -o remount,bind,ro /
if touch "$0" 2> /dev/null; then exit 1; fi
exec "$@"
"""


def test_a_server_needs_one_folder_that_it_can_write_to(tmp_path: Path) -> None:
    """With a mount namespace of its own, where all else is read-only."""
    trial = ["unshare", "--mount", "true"]
    if sys.platform != "linux" or subprocess.run(trial, check=False).returncode != 0:
        pytest.skip("there are no mount namespaces here")
    home = tmp_path / "home"
    home.mkdir()
    command = ("unshare", "--mount", "bash", "-c", READ_ONLY, str(tmp_path / "server.log"), *SERVE)
    settings = {"BENTOML_HOME": str(home), "TMPDIR": str(home), "FASHION_DEVICE": "cpu"}
    with serving(tmp_path, command=command, **settings) as server:
        assert classify(server, encode(BLANK)).status_code == 200
        wait_until(lambda: counted(server) == Counter({"200": 1}), server)
        assert server.stop() == 0
    assert not list(home.iterdir())  # all that was written is gone with the namespace
