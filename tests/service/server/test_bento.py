"""`bentoml build`: a Bento of the service and the model alone, which serves from anywhere."""

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.settings import RELEASED_MODEL
from tests.service.pictures import encode
from tests.serving import ROOT, SERVE, environment, serving, start

REFUSAL_SECONDS = 600


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with BentoML's files, the Bento among them."""
    folder = tmp_path_factory.mktemp("bento")
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build"],
        cwd=ROOT,
        env=environment(folder, {}),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bento(home: Path) -> Path:
    (found,) = home.glob("bentoml/bentos/*/*/bento.yaml")
    return found.parent


def test_it_holds_the_service_and_the_released_model(bento: Path) -> None:
    source = bento / "src"
    held = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    service = {f"service/{path.name}" for path in (ROOT / "service").glob("*.*")}
    assert service | {"models/fashion_lenet/model.onnx"} <= held
    model = source / "models" / "fashion_lenet" / "model.onnx"
    assert model.read_bytes() == RELEASED_MODEL.read_bytes()
    rooms = {path.partition("/")[0] for path in held if "/" in path}
    assert rooms == {"service", "models", "requirements"}


def test_it_needs_no_torch(bento: Path) -> None:
    wanted = "".join(path.read_text() for path in (bento / "env" / "python").glob("*.txt"))
    names = {line.partition("==")[0].strip() for line in wanted.splitlines() if "==" in line}
    assert {"bentoml", "numpy", "pillow"} <= names
    assert not names & {"torch", "torchvision", "onnx", "safetensors", "pytest", "matplotlib"}


def test_it_serves_from_anywhere(
    home: Path, bento: Path, tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    tag = f"{bento.parent.name}:{bento.name}"
    with serving(home, command=(*SERVE, tag), directory=tmp_path, FASHION_DEVICE="cpu") as server:
        answer = httpx.post(f"{server.url}/classify", files={"image": encode(ankle_boot)})
        assert answer.json()["label"] == "Ankle boot"
        assert server.stop() == 0


def test_from_anywhere_too_it_does_not_start_without_the_gpu_it_was_told_to_use(
    home: Path, bento: Path, tmp_path: Path
) -> None:
    tag = f"{bento.parent.name}:{bento.name}"
    # A driver that is there finds no GPU either.
    settings = {"FASHION_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    server = start(home, (*SERVE, tag), tmp_path, settings)
    try:
        assert server.process.wait(REFUSAL_SECONDS) == 1
    finally:
        server.process.kill()
    assert "FASHION_DEVICE is cuda, but " in server.log()
