"""A brief test of all three packages, on any Python: `make smoke PYTHON=python3.12`.

`make test` does not collect it: there each room is tried at length, on one Python.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.service.pictures import encode
from tests.serving import ROOT, Server, serving
from training.data.dataset import Split
from training.data.fashion_mnist import load_split

PICTURES = 20
VENV = Path(sys.prefix).parent  # has the environments for serving and for development
RELEASED = ROOT / "models" / "fashion_lenet"
CLIENT = """
import sys, bentoml, numpy as np
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    print(client.predict(images=np.load(sys.argv[2]))["class_ids"])
"""


def python(environment: str, *arguments: str | Path) -> str:
    """Run an environment's interpreter as a user does, and return what it printed."""
    done = subprocess.run(
        [VENV / environment / "bin" / "python", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def test_set() -> Split:
    whole = load_split("test", ROOT / "tests" / "data")
    print(f"Python {sys.version}")
    return Split(whole.images[:PICTURES], whole.labels[:PICTURES], whole.digests)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = ("make", "serve", f"VENV={VENV}")
    with serving(tmp_path_factory.mktemp("server"), command=command) as server:
        yield server


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained for one epoch."""
    out = tmp_path_factory.mktemp("runs") / "seed"
    python(
        "dev", "-m", "training", "--recipe", "seed", "--epochs", "1", "--seed", "0", "--out", out
    )
    return out / "checkpoint.safetensors"


def test_the_server_answers(server: Server, test_set: Split) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        found = [
            client.post("/classify", files={"image": encode(image[0].numpy())}).json()["class_id"]
            for image in test_set.images
        ]
    assert found == test_set.labels.tolist()


def test_bentomls_client_sends_an_array(server: Server, test_set: Split, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", test_set.images.numpy())
    found = python("serve", "-c", CLIENT, server.url, tmp_path / "images.npy")
    assert json.loads(found) == test_set.labels.tolist()


def test_pictures_on_a_disk_are_classified(tmp_path: Path, test_set: Split) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, image in enumerate(test_set.images):
        (pictures / f"{number:02}.png").write_bytes(encode(image[0].numpy()))
    out = tmp_path / "rows.jsonl"
    python("serve", "-m", "service", "classify", pictures, "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["class_id"] for row in rows] == test_set.labels.tolist()


def test_a_network_is_trained_exported_and_verified(checkpoint: Path) -> None:
    model = checkpoint.with_name("model.onnx")
    assert "proved equal" in python("dev", "-m", "export", checkpoint, "--out", model)
    assert "equal" in python("dev", "-m", "export", "verify", model, checkpoint)


def test_the_released_model_is_verified() -> None:
    files = (RELEASED / "model.onnx", RELEASED / "checkpoint.safetensors")
    assert "equal" in python("dev", "-m", "export", "verify", *files)
