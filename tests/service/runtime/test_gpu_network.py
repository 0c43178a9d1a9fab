"""Few batch sizes, a session for each; with CPU sessions in place of a GPU's."""

import logging
import time

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from service.errors import ModelError
from service.runtime.cuda import CUDA
from service.runtime.gpu_network import GpuNetwork, batch_sizes
from service.runtime.onnx_model import OnnxModel, load_model
from service.runtime.onnx_session import CPU, cpu_session
from service.settings import RELEASED_MODEL, ServiceSettings

MODEL = RELEASED_MODEL.read_bytes()
SLOW_SECONDS = 0.003  # longer than the CPU takes for 16 images of LeNet


class Watched(GpuNetwork):
    """A network on a GPU, which takes at least so long for each batch."""

    seconds = 0.0
    asked: list[int]

    def infer(self, images: NDArray[np.uint8], *given: object) -> list[NDArray[np.float32]]:
        self.asked.append(len(images))
        time.sleep(self.seconds)
        return super().infer(images, *given)  # type: ignore[arg-type]


@pytest.fixture
def gpu() -> Watched:
    gpu = Watched.open(MODEL, 64, cpu_session)
    gpu.asked = []
    return gpu


@pytest.fixture
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, [1]),
        (4, [4]),
        (5, [4, 5]),
        (64, [4, 16, 64]),
        (1000, [4, 16, 64, 256, 1000]),
        (1024, [4, 16, 64, 256, 1024]),
    ],
)
def test_there_are_few_sizes(most: int, sizes: list[int]) -> None:
    assert batch_sizes(most) == sizes


def watch(session: ort.InferenceSession, seen: list[int]) -> None:
    """Make a session note the batch sizes that it runs."""
    real = session.run

    def run(names: list[str], feed: dict[str, NDArray[np.uint8]], options: object) -> object:
        seen.append(len(feed["image"]))
        return real(names, feed, options)

    session.run = run


def test_each_session_sees_one_shape_however_batches_change(images: NDArray[np.uint8]) -> None:
    seen: dict[int, list[int]] = {size: [] for size in (4, 16, 64)}
    sessions = {size: cpu_session(MODEL) for size in seen}
    for size, session in sessions.items():
        watch(session, seen[size])
    gpu = GpuNetwork(sessions)
    for count in (1, 5, 64, 3, 17, 4, 16, 63, 2):
        gpu.infer(images[:count, None], ["logits"])
    assert seen == {4: [4] * 4, 16: [16] * 2, 64: [64] * 3}


@pytest.mark.parametrize("count", [1, 3, 4, 5, 64, 65, 200])
def test_padded_batches_give_what_a_plain_run_gives(
    count: int, gpu: Watched, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    batch = images[:count, None]  # (N, 1, 28, 28)
    for outputs in (["logits"], ["probabilities", "logits"]):
        found = gpu.infer(batch, outputs)
        for array, expected in zip(found, session.run(outputs, {"image": batch}), strict=True):
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)


def test_small_batches_stay_on_the_cpu_and_the_start_measures_which(
    gpu: Watched, model: OnnxModel, images: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.seconds = SLOW_SECONDS
    with caplog.at_level(logging.INFO):
        model.use_gpu(gpu)
    assert 4 < model.smallest_on_gpu <= 128
    assert f"fewer than {model.smallest_on_gpu} images run on the CPU" in caplog.text
    assert "Batches of 4, 16, 64 images passed the check on the GPU in " in caplog.text
    assert (model.device, model.execution_provider) == ("cuda", CUDA)
    for count in (model.smallest_on_gpu - 1, model.smallest_on_gpu):
        gpu.asked.clear()
        found = model.classify(images[:count, None])
        assert found.shape == (count, 10)
        assert gpu.asked == ([] if count < model.smallest_on_gpu else [count])


def test_a_gpu_that_is_always_faster_gets_all(
    gpu: Watched, model: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = model._infer_on_cpu

    def slow(*given: object) -> list[NDArray[np.float32]]:
        time.sleep(5 * SLOW_SECONDS)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "_infer_on_cpu", slow)
    model.use_gpu(gpu)
    assert model.smallest_on_gpu == 1


def test_a_gpu_that_is_never_faster_gets_none(gpu: Watched, model: OnnxModel) -> None:
    gpu.seconds = 0.1
    model.use_gpu(gpu)
    assert model.smallest_on_gpu == 128  # above the largest batch


def test_every_size_is_checked_on_the_gpu_and_the_cpu_too(gpu: Watched, model: OnnxModel) -> None:
    model.use_gpu(gpu)
    gpu.asked.clear()
    model.check()
    assert gpu.asked == [4, 16, 64]
    model.golden.logits[0, 3] += 1
    with pytest.raises(ModelError, match=f"wrong on {CPU}, in a batch of 10: a logit is off by 1"):
        model.check()
    with pytest.raises(ModelError, match=f"wrong on {CUDA}, in a batch of 4: a logit is off by 1"):
        model.use_gpu(gpu)
