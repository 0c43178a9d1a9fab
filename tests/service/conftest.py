"""The real test set, the released model, and a client of the server that all share."""

import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

with warnings.catch_warnings():  # importing BentoML warns of what it imports
    warnings.simplefilter("ignore", DeprecationWarning)
    import service.classifier  # noqa: F401

from service.runtime.onnx_session import cpu_session
from service.settings import RELEASED_MODEL
from tests.service.pictures import encode
from tests.serving import ROOT, Server

IMAGES = ROOT / "tests" / "data" / "t10k-images-idx3-ubyte.gz"
LABELS = ROOT / "tests" / "data" / "t10k-labels-idx1-ubyte.gz"


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """The real test images, (10000, 28, 28)."""
    return np.frombuffer(gzip.decompress(IMAGES.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)


@pytest.fixture(scope="session")
def labels() -> NDArray[np.uint8]:
    """Their classes, (10000,)."""
    return np.frombuffer(gzip.decompress(LABELS.read_bytes())[8:], np.uint8)


@pytest.fixture(scope="session")
def session() -> ort.InferenceSession:
    """The released model in ONNX Runtime, with which every answer is compared."""
    return ort.InferenceSession(RELEASED_MODEL, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def same_session() -> ort.InferenceSession:
    """A session as the server opens it: ONNX Runtime's last bits depend on its settings."""
    return cpu_session(RELEASED_MODEL.read_bytes())


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def ankle_boot(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first test image, (28, 28)."""
    image: NDArray[np.uint8] = images[0]
    return image


@pytest.fixture
def ankle_boot_file(ankle_boot: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "ankle boot.png"
    path.write_bytes(encode(ankle_boot))
    return path
