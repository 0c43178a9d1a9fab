"""All steps of a user: train, fold, prove, serve, classify."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.service.pictures import encode
from tests.serving import ROOT, Server, serving
from tests.thorough import THOROUGH
from training.data.dataset import Split
from training.data.fashion_mnist import load_split
from training.files.checkpoint import load_checkpoint

PICTURES = 200
# The notebook has ten. The learning rate is constant: three are the first three of the ten, and are
# held to the same accuracy.
EPOCHS = 10 if THOROUGH else 3


def python(*arguments: str | Path) -> str:
    """Run a module of ours as a user does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
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
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained by the notebook's recipe on all 60,000 images."""
    out = tmp_path_factory.mktemp("runs") / "seed"
    recipe = ("--recipe", "seed", "--epochs", str(EPOCHS), "--seed", "0")
    python("training", *recipe, "--device", "auto", "--out", out)
    return out


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    """The same folded, and proved equal on all 10,000 test images."""
    out = run / "model.onnx"
    arguments = ("--out", out, "--model-version", "0.0.7")
    printed = python("export", run / "checkpoint.safetensors", *arguments)
    assert f"proved equal; wrote {out}" in printed
    return out


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, FASHION_MODEL=str(model), FASHION_DEVICE="auto") as server:
        yield server


@pytest.fixture(scope="module")
def test_set() -> Split:
    return load_split("test", ROOT / "tests" / "data")


def test_the_notebooks_recipe_learns_as_well_as_the_notebook(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    print(f"{metrics['test_accuracy']:.4f}, {metrics['images_per_second']:,.0f} images/s")
    assert 0.84 <= metrics["test_accuracy"] <= 0.90


def test_every_prediction_is_the_trained_networks(
    run: Path, server: Server, test_set: Split
) -> None:
    images = test_set.images[:PICTURES]  # (N, 1, 28, 28)
    network = load_checkpoint(run / "checkpoint.safetensors").model.eval()
    with torch.no_grad():
        expected = network(images.float() / 255).softmax(1)  # (N, 10)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        answers: list[dict[str, Any]] = [
            client.post("/classify", files={"image": encode(image[0].numpy())}).json()
            for image in images
        ]
    assert [answer["class_id"] for answer in answers] == expected.argmax(1).tolist()
    found = torch.tensor([list(answer["probabilities"].values()) for answer in answers])  # (N, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert {answer["model"]["version"] for answer in answers} == {"0.0.7"}


def test_most_of_them_are_right(server: Server, test_set: Split) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        right = [
            client.post("/classify", files={"image": encode(image[0].numpy())}).json()["class_id"]
            == label
            for image, label in zip(
                test_set.images[:PICTURES], test_set.labels[:PICTURES].tolist(), strict=True
            )
        ]
    assert sum(right) >= 0.8 * PICTURES
