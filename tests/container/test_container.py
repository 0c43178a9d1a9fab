"""The images of `make container`: what is in them, and how they run as anyone would run them."""

import json
import re
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from service.devices import DRIVER
from tests.podman import Podman, podman_with
from tests.serving import ROOT, free_port

USER = "1034"
LARGEST_BYTES = 600e6  # of the image for the CPU, unpacked
UNWANTED = ("gcc", "cc", "g++", "make", "git", "pip", "curl")
PICTURE = (ROOT / "docs" / "images" / "ankle_boot.png").read_bytes()

# What a careful host allows: nothing is written but these two, and nothing gains rights.
CONFINED = (
    *("--network", "host", "--read-only", "--read-only-tmpfs=false"),
    *("--tmpfs", "/tmp", "--tmpfs", "/var/lib/bentoml"),  # noqa: S108
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
POLL_SECONDS = 0.2
LONGEST_SECONDS = 60.0  # a last resort
GRACE_SECONDS = 40


@dataclass(frozen=True)
class Container:
    """A container that a test started."""

    podman: Podman
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        return self.podman.run("exec", self.name, *command)

    def log(self) -> subprocess.CompletedProcess[str]:
        return self.podman.run("logs", self.name)

    def state(self) -> dict[str, Any]:
        return json.loads(self.podman.run("inspect", self.name).stdout)[0]["State"]

    def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        return int(self.podman.run("wait", self.name).stdout)


@dataclass(frozen=True)
class Image:
    """An image, and the Podman that has it."""

    podman: Podman
    name: str

    def inspect(self) -> dict[str, Any]:
        return json.loads(self.podman.run("image", "inspect", self.name).stdout)[0]

    @contextmanager
    def started(self, **settings: str) -> Iterator[Container]:
        """Run it with these environment variables until the block ends."""
        port = free_port()
        given = {"PORT": str(port), "FASHION_DRAIN_SECONDS": "0", **settings}
        variables = [f"--env={name}={value}" for name, value in given.items()]
        done = self.podman.run("run", "--detach", *CONFINED, *variables, self.name)
        assert done.returncode == 0, done.stderr
        container = Container(self.podman, done.stdout.strip(), port)
        try:
            yield container
        finally:
            self.podman.run("rm", "--force", container.name)

    @contextmanager
    def serving(self, **settings: str) -> Iterator[Container]:
        """The same, once it is ready."""
        with self.started(**{"FASHION_DEVICE": "auto", **settings}) as container:
            deadline = time.monotonic() + LONGEST_SECONDS
            while not is_ready(container):
                assert container.state()["Running"], container.log()
                assert time.monotonic() < deadline, container.log()
                time.sleep(POLL_SECONDS)
            yield container


def is_ready(container: Container) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{container.url}/readyz", timeout=5).is_success
    return False


def classify(container: Container) -> httpx.Response:
    return httpx.post(f"{container.url}/classify", files={"image": PICTURE})


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    name = f"fashion-lenet-bn:{request.param}"
    return Image(podman_with(name, tmp_path_factory.mktemp("podman")), name)


@pytest.fixture(scope="module")
def container(image: Image) -> Iterator[Container]:
    with image.serving(FASHION_ACCESS_LOG="json") as running:
        yield running


def test_it_classifies(container: Container) -> None:
    answer = classify(container)
    assert answer.json()["label"] == "Ankle boot"


@pytest.mark.parametrize("path", ["/", "/ui", "/docs.json", "/metrics", "/v2/models/fashion_lenet"])
def test_it_has_its_pages(container: Container, path: str) -> None:
    assert httpx.get(container.url + path).status_code == 200


def test_it_is_healthy(container: Container) -> None:
    done = container.podman.run("healthcheck", "run", container.name)
    assert done.returncode == 0, done.stdout


def test_it_is_not_root_and_can_write_to_its_volumes_alone(container: Container) -> None:
    assert container.run("id", "-u").stdout.strip() == USER
    places = {"/opt": 1, "/opt/bento/src": 1, "/home": 1, "/tmp": 0, "/var/lib/bentoml": 0}  # noqa: S108
    for place, status in places.items():
        assert container.run("touch", f"{place}/x").returncode == status, place


def test_it_logs_on_standard_output(container: Container) -> None:
    answer = classify(container)
    lines = [json.loads(line) for line in container.log().stdout.splitlines() if line[0] == "{"]
    assert answer.headers["X-Request-ID"] in [line["request_id"] for line in lines]


def test_it_has_no_compiler_no_git_and_no_torch(container: Container) -> None:
    found = container.run("sh", "-c", "; ".join(f"command -v {name}" for name in UNWANTED))
    assert found.stdout == ""
    modules = "torch", "torchvision", "onnx", "pip", "training", "export", "tests"
    look = f"import importlib.util as u; print([m for m in {modules!r} if u.find_spec(m)])"
    assert container.run("python3", "-c", look).stdout.strip() == "[]"


def test_a_proxys_certificates_are_not_in_it(container: Container) -> None:
    names = ("-name", "*.crt", "-path", "/etc/*"), ("-path", "/run/secrets/*")
    for name in names:
        assert container.run("find", "/etc", "/run", *name).stdout == ""


def test_it_fits(image: Image) -> None:
    if not image.name.endswith("cpu"):
        pytest.skip("CUDA alone is larger")
    assert image.inspect()["Size"] < LARGEST_BYTES


def test_its_labels_say_what_is_in_it(image: Image, container: Container) -> None:
    labels = image.inspect()["Labels"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    model = container.run("sha256sum", "models/fashion_lenet/model.onnx").stdout.split()[0]
    assert labels["fashion-lenet.model.sha256"] == model
    version = httpx.get(f"{container.url}/readyz").json()["model"]["version"]
    assert labels["fashion-lenet.model.version"] == version


def test_settings_come_from_the_environment(image: Image) -> None:
    with image.serving(FASHION_MAX_BODY_BYTES="100", HOST="127.0.0.1") as container:
        assert classify(container).status_code == 413
        assert httpx.get(f"{container.url}/readyz").json()["device"] in {"cpu", "cuda"}


def test_a_wrong_setting_ends_it(image: Image) -> None:
    with image.started(FASHION_WORKERS="none") as container:
        assert container.ended() == 1
        log = container.log()
        assert "FASHION_WORKERS=none" in log.stdout + log.stderr


def test_it_does_not_serve_from_the_cpu_unnoticed(image: Image) -> None:
    with image.started(FASHION_DEVICE="cuda") as container:
        if (
            container.run("python3", "-c", f"import ctypes; ctypes.CDLL('{DRIVER}')").returncode
            == 0
        ):
            pytest.skip("there is a GPU here")
        assert container.ended() == 1
        log = container.log()
        assert "--gpus all" in log.stdout + log.stderr


def test_stop_loses_no_request(image: Image) -> None:
    head = (
        "POST /classify HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(PICTURE)}\r\n\r\n"
    )
    with (
        image.serving() as container,
        closing(socket.create_connection(("127.0.0.1", container.port), 30)) as upload,
    ):
        upload.sendall(head.encode() + PICTURE[:-1])
        begun = time.monotonic()
        stop = ["stop", "--time", str(GRACE_SECONDS), container.name]
        with subprocess.Popen(
            [container.podman.path, *stop], stdout=subprocess.DEVNULL
        ) as stopping:
            while is_ready(container):
                assert time.monotonic() - begun < GRACE_SECONDS
                time.sleep(POLL_SECONDS)
            upload.sendall(PICTURE[-1:])
            with upload.makefile("rb") as answer:
                assert re.match(rb"HTTP/1.1 200 .*Ankle boot", answer.read(), re.DOTALL)
            assert stopping.wait(GRACE_SECONDS) == 0
        assert time.monotonic() - begun < GRACE_SECONDS / 2
        assert container.state()["ExitCode"] == 0
