"""The images of `make container`: their content, and how they run with the documented commands."""

import json
import os
import re
import shlex
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from service.runtime.cuda import DRIVER
from tests.container.images import PICTURE, Container, Image, await_ready, classify, is_ready
from tests.podman import podman_with
from tests.service.models import write_model
from tests.serving import ROOT, free_port

USER = "1034"
LARGEST_BYTES = 600e6  # of the image for the CPU, unpacked
UNWANTED = ("gcc", "cc", "g++", "make", "git", "pip", "curl")
GRACE_SECONDS = 40
POLL_SECONDS = 0.2


@pytest.fixture(scope="module", params=os.environ.get("DEVICES", "cpu").split())
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
    assert labels["fashion-lenet.model.version"] == version(container)


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


def test_the_documented_command_runs_it(image: Image) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (text,) = re.findall(r"^docker (run .*)$", page, re.MULTILINE)
    port = free_port()
    command = shlex.split(text.replace("3000:3000", f"{port}:3000"))
    if image.name not in command:
        pytest.skip("it is for the other image")
    with image.run(command, port) as container:
        await_ready(container)
        assert classify(container).json()["label"] == "Ankle boot"


def test_a_model_in_a_mounted_folder_is_changed(image: Image, tmp_path: Path) -> None:
    """The folder is mounted, as by Compose: a mounted file would stay the one of the start."""
    tmp_path.chmod(0o755)
    model = write_model(tmp_path / "model.onnx", version="2.0.0")
    mounted = f"--volume={tmp_path}:/models:ro"
    with image.serving(mounted, FASHION_MODEL="/models/model.onnx") as container:
        assert version(container) == "2.0.0"
        write_model(tmp_path / "model.new", version="3.0.0").replace(model)
        assert container.podman.run("kill", "--signal", "HUP", container.name).returncode == 0
        deadline = time.monotonic() + GRACE_SECONDS
        while version(container) != "3.0.0":
            assert time.monotonic() < deadline, container.log()
            time.sleep(POLL_SECONDS)


def version(container: Container) -> str:
    """That of the model that it serves."""
    return str(httpx.get(f"{container.url}/readyz").json()["model"]["version"])


LOAD = """
import ctypes, onnxruntime, pathlib
onnxruntime.preload_dlls()
folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
"""


def test_cuda_is_in_the_image_for_it_alone_and_lacks_nothing_but_the_driver(
    image: Image, container: Container
) -> None:
    done = container.run("python3", "-c", LOAD)
    if image.name.endswith("cpu"):
        assert "libonnxruntime_providers_cuda.so: cannot open" in done.stderr
        return
    assert done.returncode == 0 or f"OSError: {DRIVER}: cannot open" in done.stderr, done.stderr


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
