"""The Deployment as Podman runs it: confined as in a cluster, probed, asked and stopped."""

import copy
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import yaml

from tests.deploy.manifests import built, pod
from tests.deploy.programs import DEPLOY
from tests.podman import Podman, podman_with
from tests.serving import ROOT, free_port

IMAGE = "fashion-lenet-bn:cpu"
CONTAINER = "fashion-lenet-pod-0-fashion-lenet"  # as Podman names it
USER = "1034"

PICTURE = ROOT / "docs" / "images" / "ankle_boot.png"
POLL_SECONDS = 0.2
LONGEST = 120.0  # a last resort


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    return podman_with(IMAGE, tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="module")
def url(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the Deployment answers; the host's port is all that deploy/ does not have."""
    port = free_port()
    deployment = copy.deepcopy(built("deployment/cpu")["Deployment"])
    (container,) = pod({"Deployment": deployment})["containers"]
    container["ports"][0]["hostPort"] = port
    manifest = tmp_path_factory.mktemp("kube") / "deployment.yaml"
    manifest.write_text(yaml.safe_dump(deployment))
    try:
        done = podman.run("kube", "play", manifest)
        assert done.returncode == 0, done.stderr
        yield f"http://127.0.0.1:{port}"
    finally:
        podman.run("kube", "down", manifest)


def test_it_becomes_ready_and_classifies(podman: Podman, url: str) -> None:
    deadline = time.monotonic() + LONGEST
    while not is_ready(url):
        assert time.monotonic() < deadline, podman.run("logs", CONTAINER).stdout
        time.sleep(POLL_SECONDS)
    assert httpx.get(f"{url}/livez").is_success
    answer = httpx.post(f"{url}/classify", files={"image": PICTURE.read_bytes()})
    assert answer.json()["label"] == "Ankle boot"
    assert httpx.get(f"{url}/metrics").status_code == 404


def test_its_metrics_have_their_port(podman: Podman, url: str) -> None:
    command = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8002/metrics').read())"
    found = ""
    deadline = time.monotonic() + 30
    while "fashion_requests_total" not in found:  # a worker tells twice a second
        assert time.monotonic() < deadline, found
        found = podman.run("exec", CONTAINER, "python3", "-c", command).stdout


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    return False


def test_it_is_not_root_and_writes_to_its_volumes_alone(podman: Podman, url: str) -> None:
    assert podman.run("exec", CONTAINER, "id", "-u").stdout.strip() == USER
    places = {"/opt": 1, "/home": 1, "/tmp": 0, "/var/lib/bentoml": 0}  # noqa: S108
    for place, status in places.items():
        assert podman.run("exec", CONTAINER, "touch", f"{place}/x").returncode == status, place
    assert "Read-only" in podman.run("exec", "--user", "0", CONTAINER, "touch", "/opt/x").stderr


def test_its_metrics_are_in_its_volume(podman: Podman, url: str) -> None:
    files = podman.run("exec", CONTAINER, "find", "/var/lib/bentoml", "-name", "*.db").stdout
    assert "counter_" in files


def test_it_passes_composes_health_check(podman: Podman, url: str) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    command = services["fashion"]["healthcheck"]["test"][1:]
    done = podman.run("exec", CONTAINER, *command)
    assert done.returncode == 0, done.stderr


def test_it_drains_when_it_is_told_to_stop(podman: Podman, url: str) -> None:
    begun = time.monotonic()
    assert podman.run("stop", "--time", "60", CONTAINER).returncode == 0
    assert 5 <= time.monotonic() - begun < 30
    state = podman.run("inspect", "--format", "{{.State.ExitCode}}", CONTAINER)
    assert state.stdout.strip() == "0"
