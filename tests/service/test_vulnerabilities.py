"""BentoML's vulnerabilities, tried on the real server: none of them works."""

import json
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml
from _bentoml_impl.serde import ALL_SERDE
from numpy.typing import NDArray

from tests.service.pictures import encode
from tests.serving import ROOT, Server

POSTS = (
    *("/", "/classify", "/classify_batch", "/predict", "/ui/seen", "/nothing", "/metrics"),
    *("/v2/models/fashion_lenet/infer", "/v2/models/fashion_lenet/versions/1.1.0/infer"),
    *("/docs.json", "/schema.json", "/readyz", "/is_ready"),
)
PICKLES = (
    *("application/vnd.bentoml+pickle", "application/vnd.bentoml.pickled"),
    *("application/x-pickle", "application/python-pickle", "application/octet-stream"),
)
# By which BentoML's runners were told how to unpack a payload.
RUNNERS = {
    "Payload-Container": "NdarrayContainer",
    "Payload-Meta": json.dumps({"format": "default", "pickle_bytes_str": "", "with_buffer": False}),
    "Args-Number": "1",
    "Batch-Size": "1",
    "Bentoml-Payload-Meta": "{}",
    "X-BentoML-Serialization": "pickle",
}
TAIL = 9 * 2**20  # below the limit of a body
CPU_SECONDS = 2.0
DANGEROUS = {
    *("system_packages", "setup_script", "base_image", "env", "conda", "build_args"),
    *("index_url", "extra_index_url", "find_links", "trusted_host", "pip_args", "wheels"),
}


class Exploit:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@contextmanager
def listening() -> Iterator[tuple[int, list[Any]]]:
    """A port, and who connected to it."""
    visitors: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                connection, address = listener.accept()
                connection.close()
                if address[1] == last:
                    return
                visitors.append(address)

        last = 0
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], visitors
        finally:
            # All who came before the last have been noted when it is the last's turn.
            with socket.socket() as end:
                end.bind(("127.0.0.1", 0))
                last = end.getsockname()[1]
                end.connect(listener.getsockname())
            thread.join()


@pytest.mark.parametrize("path", POSTS)
def test_no_route_unpickles(path: str, client: httpx.Client, tmp_path: Path) -> None:
    """CVE-2024-2912, CVE-2025-27520 and CVE-2025-32375."""
    trace = tmp_path / "unpickled"
    exploit = pickle.dumps(Exploit(trace))
    pickle.loads(exploit).close()  # noqa: S301
    assert trace.exists()
    trace.unlink()
    types = {*ALL_SERDE, *PICKLES}
    assert {"application/json", "multipart/form-data", "application/vnd.bentoml+pickle"} <= types
    for media_type in types:
        for headers in ({}, RUNNERS):
            answer = client.post(
                path, content=exploit, headers={"Content-Type": media_type, **headers}
            )
            assert 400 <= answer.status_code < 500, (media_type, answer.text)
    for part in PICKLES:
        for field in ("image", "images", "args", "data"):
            answer = client.post(path, files={field: ("a.pkl", exploit, part)}, headers=RUNNERS)
            assert 400 <= answer.status_code < 500, (part, answer.text)
    assert not trace.exists()


@pytest.mark.parametrize("where", ["dashes", "boundary", "boundaries"])
def test_the_tail_of_a_boundary_costs_nothing(
    where: str, server: Server, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    """CVE-2024-9056."""
    boundary = "x" * (20_000 if where == "boundary" else 20)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    content = head.encode() + encode(ankle_boot) + f"\r\n--{boundary}--".encode()
    if where != "boundary":
        tail = "-" if where == "dashes" else f"\r\n--{boundary}"
        content += (tail * (TAIL // len(tail))).encode()
    before = spent(server)
    for route in ("/classify", "/classify_batch", "/ui/seen"):
        answer = client.post(
            route,
            content=content,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        assert answer.status_code < 500, answer.text
    assert spent(server) - before < CPU_SECONDS
    assert client.get("/livez").status_code == 200


def spent(server: Server) -> float:
    """Seconds of processor time that the workers have taken."""
    times = [psutil.Process(worker.pid).cpu_times() for worker in server.workers()]
    return sum(time.user + time.system for time in times)


def test_no_address_is_fetched(client: httpx.Client) -> None:
    """CVE-2025-54381."""
    with listening() as (port, visitors):
        url = f"http://127.0.0.1:{port}/a.png"
        for address in (url, f"http://localhost:{port}/a.png", f"file:///etc/passwd?{port}"):
            answers = [
                *(client.post("/classify", json=body) for body in ({"image": address}, address)),
                client.post("/classify", data={"image": address}),
                client.post("/classify", files={"image": (None, address)}),
                client.post("/classify", files={"image": ("a.png", address, "text/uri-list")}),
                client.post("/classify", content=address, headers={"Content-Type": "image/png"}),
                client.post("/classify_batch", json={"images": [address]}),
                client.post("/classify_batch", files={"images": (None, address)}),
                client.post("/predict", json={"images": address}),
                client.post("/predict", json={"images": [address]}),
                client.post("/ui/seen", files={"image": (None, address)}),
                client.post("/v2/models/fashion_lenet/infer", json=inference(address)),
            ]
            for answer in answers:
                assert 400 <= answer.status_code < 500, answer.text
                assert "root:" not in answer.text
    assert visitors == []


def inference(address: str) -> dict[str, Any]:
    entry = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [address]}
    return {"inputs": [entry]}


def test_a_listener_would_have_seen_it() -> None:
    with listening() as (port, visitors), pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/a.png")
    assert len(visitors) == 1


def test_the_bento_has_nothing_that_runs_or_fetches_at_build_time() -> None:
    """CVE-2026-33744: these values were put into a shell command."""
    bentofile = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    found = keys(bentofile)
    assert {"service", "requirements_txt"} <= found
    assert not found & DANGEROUS
    assert set(bentofile.get("docker", {})) <= {"dockerfile_template"}
    locked = (ROOT / "requirements" / "serve.lock").read_text()
    assert "--hash=sha256:" in locked
    assert "://" not in locked


def keys(value: Any) -> set[str]:
    """Every key in what a YAML file holds."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for item in value.values() for key in keys(item)}
