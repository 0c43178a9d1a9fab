"""The parent is killed: its workers end, and the port is free."""

from pathlib import Path

import httpx
import psutil

from tests.serving import ROOT, SERVE, serving, start, wait_until


def test_workers_end_with_a_parent_that_is_killed_and_the_port_is_free(tmp_path: Path) -> None:
    settings = {"FASHION_DEVICE": "cpu", "FASHION_WORKERS": "2"}
    with serving(tmp_path, **settings) as server:
        assert len(server.workers()) == 2
        family = psutil.Process(server.process.pid).children(recursive=True)  # and those of workers
        server.process.kill()
        server.process.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive
        again = (*SERVE, f"--port={server.port}")
        command = ("bash", "-c", f"exec {' '.join(again)} --host=127.0.0.1")
        (tmp_path / "again").mkdir()
        other = start(tmp_path / "again", command, ROOT, settings)
        try:
            wait_until(lambda: other.log().count("initialized") == 2, other, 120)
            assert httpx.get(f"{server.url}/readyz").status_code == 200
        finally:
            other.stop()


def test_a_worker_that_is_starting_ends_too(tmp_path: Path) -> None:
    server = start(tmp_path, SERVE, ROOT, {"FASHION_DEVICE": "cpu"})
    try:
        wait_until(server.workers, server, 120)
        workers = server.workers()
    finally:
        server.process.kill()
        server.process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
