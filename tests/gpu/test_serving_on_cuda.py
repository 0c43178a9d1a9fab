"""Models on CUDA: every node, in every batch size, as exact as on the CPU, however they are run."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.__main__ import main as export
from export.onnx_file.session import computed_on
from export.verification.verification import faults
from export.verify_file import verify_network
from service.runtime.cuda import CUDA, placement
from service.runtime.gpu_network import GpuNetwork
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.onnx_session import cpu_session
from service.runtime.signature import LOGITS, PROBABILITIES
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.gpu.conftest import DEVICE, REHEARSAL
from tests.gpu.resnet20 import MEAN, STD, pictures, resnet20, write
from training.data.fashion_mnist import load_split

TEST_SET = Path("tests/data")
CHECKPOINT = RELEASED_MODEL.with_name("checkpoint.safetensors")
RUNS = 300

# As on a machine whose GPU is lost: a kernel that fails takes CUDA's context with it.
LOST = """
import numpy as np, torch
from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
model = load_model(ServiceSettings(device="cuda"))
images = np.zeros((1000, 1, 28, 28), np.uint8)
assert model.classify(images).shape == (1000, 10)
try:
    torch.zeros(1, device="cuda")[torch.tensor([10**6], device="cuda")].cpu()
except Exception as error:
    print("torch:", type(error).__name__)
for run in (lambda: model.classify(images), model.check):
    try:
        run()
        print("went on")
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


def on_gpu(path: Path = RELEASED_MODEL) -> OnnxModel:
    """Load a model as the service does; in a rehearsal, with sessions on the CPU."""
    model = load_model(ServiceSettings(device=DEVICE, model=path))
    if REHEARSAL:
        model.use_gpu(GpuNetwork.open(path.read_bytes(), 1024, cpu_session))
    return model


def on_cpu(path: Path = RELEASED_MODEL) -> OnnxModel:
    return load_model(ServiceSettings(device="cpu", model=path))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """All test images, (10000, 1, 28, 28)."""
    loaded: NDArray[np.uint8] = load_split("test", TEST_SET).images.numpy()
    return loaded


@pytest.fixture(scope="module")
def network(cuda: None) -> GpuNetwork:
    gpu = on_gpu().gpu
    assert gpu is not None
    return gpu


@pytest.mark.skipif(REHEARSAL, reason="a rehearsal has no GPU")
@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_cuda_is_what_cuda_and_auto_get(device: str) -> None:
    assert load_model(ServiceSettings(device=device)).execution_provider == CUDA


@pytest.mark.skipif(REHEARSAL, reason="a rehearsal has no GPU")
def test_every_node_is_on_the_gpu() -> None:
    nodes = placement(RELEASED_MODEL.read_bytes())
    assert {provider for provider, names in nodes.items() if names} == {CUDA}


def test_all_images_are_as_on_the_cpu_in_every_batch_size(
    network: GpuNetwork, images: NDArray[np.uint8]
) -> None:
    cpu = on_cpu()
    expected = np.concatenate([cpu.infer(p, [LOGITS])[0] for p in np.split(images, 100)])  # (N, K)
    assert len(network.sizes) > 3
    for size in network.sizes:
        starts = range(0, len(images), size)
        parts = [network.infer(images[s : s + size], [LOGITS])[0] for s in starts]
        found = np.concatenate(parts)  # (N, K)
        assert np.abs(found - expected).max() <= cpu.golden.tolerance, size
        assert np.array_equal(found.argmax(1), expected.argmax(1)), size


def test_batches_whose_size_changes_get_the_same_answers(
    network: GpuNetwork, images: NDArray[np.uint8]
) -> None:
    expected = network.infer(images, [LOGITS])[0]  # (N, K)
    tolerance = on_cpu().golden.tolerance
    sizes = np.random.default_rng(0).integers(1, 1100, RUNS)
    for size in sizes:
        (found,) = network.infer(images[:size], [LOGITS])
        assert np.abs(found - expected[:size]).max() <= tolerance, size


def test_two_threads_get_their_own_answers(network: GpuNetwork, images: NDArray[np.uint8]) -> None:
    tolerance = on_cpu().golden.tolerance
    expected = network.infer(images, [LOGITS])[0]  # (N, K)
    worst = [0.0, 0.0]

    def work(which: int) -> None:
        random = np.random.default_rng(which)
        for _ in range(RUNS):
            start, size = random.integers(0, 9000), random.integers(1, 300)
            (found,) = network.infer(images[start : start + size], [LOGITS])
            error = float(np.abs(found - expected[start : start + size]).max())
            worst[which] = max(worst[which], error)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) <= tolerance


def test_a_model_is_loaded_beside_another_and_outlives_it(images: NDArray[np.uint8]) -> None:
    before, after = on_gpu(), on_gpu()
    expected = before.classify(images[:500])
    before.close()
    assert np.abs(after.classify(images[:500]) - expected).max() < 1e-5
    after.check()


def test_a_general_network_is_served_and_proved(tmp_path: Path) -> None:
    network = resnet20()
    path = write(network, tmp_path / "model.onnx")
    model, cpu = on_gpu(path), on_cpu(path)  # both with their golden samples
    assert model.device == "cuda"
    batch = pictures(300)
    probabilities, logits = model.infer(batch.numpy(), [PROBABILITIES, LOGITS])
    (expected,) = cpu.infer(batch.numpy(), [LOGITS])
    assert np.abs(logits - expected).max() <= 2 * cpu.golden.tolerance
    assert np.abs(probabilities.sum(1) - 1).max() < 1e-5
    with computed_on(DEVICE):
        assert faults(verify_network(network, path, batch[:64], mean=MEAN, std=STD)) == []


def test_the_released_model_is_proved_on_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(RELEASED_MODEL), str(CHECKPOINT), "--data", str(TEST_SET)]
    assert export(["verify", *paths, "--device", DEVICE, "--no-input-statistics"]) == 0
    assert "PASS: " in capsys.readouterr().out


@pytest.mark.skipif(REHEARSAL, reason="a rehearsal has no GPU to lose")
def test_a_lost_gpu_fails_its_check_for_good() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], check=False, capture_output=True, text=True)
    torch, run, check = done.stdout.splitlines()[-3:]
    assert torch.startswith("torch: "), done.stderr
    assert run != "went on"
    assert check.startswith("ModelError: the model cannot be run on CUDAExecutionProvider")
