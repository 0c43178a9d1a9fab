"""The README's commands, run in a fresh clone."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.pages import at_port, run
from tests.serving import ROOT, Server, serving

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CURL_BLOCKS = [block for language, block in BLOCKS if language == "sh" and "curl " in block]
OFFLINE_BLOCKS = [block for language, block in BLOCKS if ".venv/serve/bin/python" in block]
CLIENT_BLOCKS = [block for language, block in BLOCKS if language == "python" and "Client" in block]

PRIVATE = {"BENTOML_DO_NOT_TRACK": "True"}

# The interpreter that our own environment was made from: a user has no other.
PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
MAKE_SECONDS = 1800  # a last resort: the installation waits for the network and the machine


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "fashion-lenet-bn"
    subprocess.run(
        ["git", "clone", "--quiet", "--no-local", ROOT, folder],  # noqa: S607
        check=True,
        timeout=600,
    )
    return folder


@pytest.fixture(scope="module")
def server(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make serve` in the clone, which makes its environment first."""
    with serving(
        tmp_path_factory.mktemp("server"),
        command=("make", "serve", f"PYTHON={PYTHON}"),
        directory=clone,
        ready_seconds=MAKE_SECONDS,
    ) as server:
        yield server


def test_the_readme_starts_the_service_and_sends_it_pictures() -> None:
    assert ("sh", "make serve\n") in BLOCKS
    assert len(CURL_BLOCKS) >= 2
    assert len(CLIENT_BLOCKS) >= 1
    assert len(OFFLINE_BLOCKS) >= 1


@pytest.mark.parametrize("block", CURL_BLOCKS, ids=range(len(CURL_BLOCKS)))
def test_what_the_readme_sends_is_answered(
    block: str, server: Server, clone: Path, tmp_path: Path
) -> None:
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    command = ["bash", "-euo", "pipefail", "-c", at_port(block, server)]
    answer = run(command, clone, {**PRIVATE, "CURL_HOME": str(tmp_path)})
    if "/classify" in block:
        assert '"label":"Ankle boot"' in answer


@pytest.mark.parametrize("block", CLIENT_BLOCKS, ids=range(len(CLIENT_BLOCKS)))
def test_the_readmes_python_is_answered(block: str, server: Server, clone: Path) -> None:
    command = [".venv/serve/bin/python", "-c", at_port(block, server)]
    assert "Ankle boot" in run(command, clone, PRIVATE)


@pytest.mark.parametrize("block", OFFLINE_BLOCKS, ids=range(len(OFFLINE_BLOCKS)))
def test_what_the_readme_classifies_without_a_server_is_classified(
    block: str, server: Server, clone: Path
) -> None:
    assert "Ankle boot" in run(["bash", "-euo", "pipefail", "-c", block], clone, PRIVATE)


def test_the_clone_needed_neither_torch_nor_data(server: Server, clone: Path) -> None:
    (packages,) = (clone / ".venv" / "serve" / "lib").glob("python3.*/site-packages")
    installed = {path.name.lower() for path in packages.iterdir()}
    assert "bentoml" in installed
    assert not installed & {"torch", "torchvision", "onnx", "safetensors", "pytest", "matplotlib"}
    assert not (clone / ".venv" / "dev").exists()
    assert not (clone / "data").exists()


def test_the_clone_is_left_as_it_was(server: Server, clone: Path) -> None:
    """The files that the commands create are ignored by git."""
    done = subprocess.run(
        ["git", "status", "--porcelain"],  # noqa: S607
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_what_ends_make_ends_the_server(server: Server) -> None:
    """Last, since the others need it."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert server.workers()
    server.process.terminate()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
