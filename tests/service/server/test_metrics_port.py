"""/metrics on a port of its own: for all workers, whoever of them dies."""

import re
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray

from tests.service.pictures import encode
from tests.serving import ROOT, SERVE, free_port, serving, start, wait_until

KEY = "metrics-port-key-0123456789"
COUNT = re.compile(r'fashion_requests_total\{route="/classify",status="200"\} (\S+)')


def test_it_has_the_counts_of_all_workers_and_of_those_that_died(
    tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    port = free_port()
    settings = {
        "FASHION_DEVICE": "cpu",
        "FASHION_WORKERS": "2",
        "FASHION_API_KEY": KEY,
        "FASHION_METRICS_PORT": str(port),
    }

    def counted() -> float:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
        found = COUNT.search(text)
        return float(found[1]) if found else 0.0

    with serving(tmp_path, **settings) as server:

        def classify() -> None:
            picture = {"image": encode(ankle_boot)}
            url = f"{server.url}/classify"
            httpx.post(url, files=picture, headers={"X-API-Key": KEY}).raise_for_status()

        for _ in range(8):
            classify()
        wait_until(lambda: counted() == 8, server)
        apart = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": KEY})
        assert apart.status_code == 404
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        described = httpx.get(f"{server.url}/docs.json", headers={"X-API-Key": KEY}).json()
        assert "/metrics" not in described["paths"]
        before = server.workers()
        before[0].kill()
        before[0].wait(30)
        assert counted() == 8
        wait_until(lambda: len(server.workers()) == 2, server)
        classify()
        wait_until(lambda: counted() == 9, server)
        assert "fashion_model{" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        settings = {"FASHION_DEVICE": "cpu", "FASHION_METRICS_PORT": str(port)}
        server = start(tmp_path, SERVE, ROOT, settings)
        assert server.process.wait(120) == 1
    message = f"FASHION_METRICS_PORT={port}: Address already in use"
    lines = [line for line in server.log().splitlines() if "FASHION_METRICS_PORT" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in server.log()


FEW_DESCRIPTORS = ("bash", "-c", 'ulimit -n 256; exec "$@"', "bash", *SERVE)


def test_half_requests_take_no_descriptor_that_a_worker_needs(tmp_path: Path) -> None:
    port = free_port()
    settings = {"FASHION_DEVICE": "cpu", "FASHION_METRICS_PORT": str(port)}
    with serving(tmp_path, command=FEW_DESCRIPTORS, **settings) as server, ExitStack() as stack:
        for _ in range(400):
            half = socket.create_connection(("127.0.0.1", port), 30)
            stack.enter_context(closing(half)).sendall(b"GET /metrics HTTP/1.1\r\n")
        parent = psutil.Process(server.process.pid)
        wait_until(lambda: parent.num_fds() < 200, server)
        assert parent.num_threads() < 30
        (before,) = server.workers()
        before.kill()
        wait_until(lambda: server.log().count("initialized") == 2, server, 120)
        assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200
        url = f"http://127.0.0.1:{port}/metrics"
        wait_until(lambda: reached(url), server, 60)  # once the half ones are ended
        assert "Traceback" not in server.log()
        assert server.stop() == 0


def reached(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def test_it_listens_where_the_service_does(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_METRICS_PORT=str(port)) as server:
        found = psutil.Process(server.process.pid).net_connections("tcp")
        listening = {one.laddr for one in found if one.status == psutil.CONN_LISTEN}
        assert {("127.0.0.1", port), ("127.0.0.1", server.port)} <= listening
        assert {host for host, _ in listening} == {"127.0.0.1"}
        assert httpx.get(f"http://127.0.0.1:{port}/other").status_code == 404
