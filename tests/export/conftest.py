"""One random network, its images, its folded model and its files, shared by all tests of export."""

import copy
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from torch import Tensor, nn

from export.onnx_file.lenet import emit_lenet
from tests.export.networks import TEST_SET, random_network, write_checkpoint, write_data_set
from training.data.dataset import Split
from training.data.fashion_mnist import load_split

# With this seed and these images eight classes are predicted, and every margin is 80 times
# eval mode's error in float32: rounding cannot change a class.
SEED, IMAGES = 8, 300
FEW = 100  # enough for a whole export


@pytest.fixture(scope="session")
def real() -> Split:
    """The real 10,000 test images."""
    return load_split("test", TEST_SET)


@pytest.fixture(scope="session")
def images(real: Split) -> Tensor:
    return real.images[:IMAGES]  # (300, 1, 28, 28)


@pytest.fixture(scope="session")
def original(images: Tensor) -> nn.Sequential:
    return random_network(images, SEED)


@pytest.fixture
def network(original: nn.Sequential) -> nn.Sequential:
    """A copy for each test."""
    return copy.deepcopy(original)


@pytest.fixture(scope="session")
def folded_bytes(original: nn.Sequential) -> bytes:
    return emit_lenet(original).model.SerializeToString()


@pytest.fixture
def folded_model(folded_bytes: bytes) -> onnx.ModelProto:
    """The network, folded and emitted correctly."""
    return onnx.load_model_from_string(folded_bytes)


@pytest.fixture
def checkpoint(tmp_path: Path, network: nn.Sequential) -> Path:
    return write_checkpoint(tmp_path / "checkpoint.safetensors", network)


@pytest.fixture(scope="session")
def small_test_set(tmp_path_factory: pytest.TempPathFactory, real: Split) -> Path:
    """A folder with the first 100 images of the test set, also for training, as --data takes it."""
    folder = tmp_path_factory.mktemp("data")
    return write_data_set(folder, real.images[:FEW], real.labels[:FEW])


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> list[ort.GraphOptimizationLevel]:
    """The optimisation level of each session that was opened in the test."""
    real, noted = ort.InferenceSession, []

    def session(model: bytes, options: ort.SessionOptions, **rest: object) -> ort.InferenceSession:
        noted.append(options.graph_optimization_level)
        return real(model, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", session)
    return noted
