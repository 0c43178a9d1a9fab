"""The watchman: beside the network in this process, and over HTTP as people see it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.drift.metrics import SHIFT as SHIFT_METRIC
from service.drift.monitor import SAMPLE, InputMonitor
from service.drift.report import input_reports
from service.drift.statistics import METADATA_KEY, SQUARED_DISTANCE_OUTPUT, InputStatistics
from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.runtime.signature import PROBABILITIES
from service.settings import ServiceSettings
from tests.service.models import write_model
from tests.service.pictures import encode
from tests.service.telemetry.test_metrics import metrics
from tests.serving import Server, serving, wait_until

PNG = {"Content-Type": "image/png"}
BOUNDS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, float("inf"))


@pytest.fixture(scope="module")
def watchman() -> InputMonitor:
    model = load_model(ServiceSettings(device="cpu"))
    assert model.input_statistics is not None
    return InputMonitor(model.name, model.input_statistics, model.infer)


def counted() -> float:
    """The number of shifts in the metrics of this process."""
    (family,) = SHIFT_METRIC.collect()
    return next(
        s.value
        for s in family.samples
        if s.name.endswith("_count") and s.labels["model"] == "fashion_lenet"
    )


@pytest.mark.parametrize(
    "outputs",
    [[SQUARED_DISTANCE_OUTPUT, PROBABILITIES], ["logits", PROBABILITIES, SQUARED_DISTANCE_OUTPUT]],
)
def test_shifts_are_an_output_in_its_place(
    watchman: InputMonitor, images: NDArray[np.uint8], outputs: Sequence[str]
) -> None:
    batch = images[:5, None]
    found = dict(zip(outputs, watchman.infer(batch, outputs), strict=True))
    expected = load_model(ServiceSettings(device="cpu")).classify(batch)
    np.testing.assert_array_equal(found[PROBABILITIES], expected)
    shifts = watchman.statistics.mahalanobis_distances(batch)  # (N,)
    np.testing.assert_array_equal(np.sqrt(found[SQUARED_DISTANCE_OUTPUT][:, 0]), shifts)


@pytest.mark.parametrize(("count", "looked_at"), [(1, 1), (SAMPLE, SAMPLE), (1000, 12)])
def test_of_a_batch_that_nobody_asks_about_some_images_are_looked_at(
    watchman: InputMonitor, images: NDArray[np.uint8], count: int, looked_at: int
) -> None:
    watchman.flush()
    before = counted()
    (probabilities,) = watchman.infer(images[:count, None], [PROBABILITIES])
    assert probabilities.shape == (count, 10)
    watchman.flush()
    assert counted() - before == looked_at <= SAMPLE


def test_a_run_that_fails_is_not_counted(watchman: InputMonitor, images: NDArray[np.uint8]) -> None:
    def fail(images: NDArray[np.uint8], outputs: Sequence[str]) -> Any:
        raise ValueError("the device is lost")

    broken = InputMonitor("broken", watchman.statistics, fail)
    before = counted()
    with pytest.raises(ValueError, match="the device is lost"):
        broken.infer(images[:1, None], [PROBABILITIES, SQUARED_DISTANCE_OUTPUT])
    broken.flush()
    assert counted() == before


def test_shifts_are_counted_by_size(watchman: InputMonitor, images: NDArray[np.uint8]) -> None:
    def buckets() -> NDArray[np.float64]:
        (family,) = SHIFT_METRIC.collect()
        samples = [s for s in family.samples if s.labels["model"] == "fashion_lenet"]
        return np.array([s.value for s in samples if s.name.endswith("_bucket")])

    mixed = np.concatenate([images[:200], 255 - images[:50]])[:, None]
    watchman.flush()
    before = buckets()
    shifts = np.sqrt(watchman.infer(mixed, [PROBABILITIES, SQUARED_DISTANCE_OUTPUT])[1])  # (N, 1)
    watchman.flush()
    expected = [(shifts <= bound).sum() for bound in BOUNDS]
    assert (buckets() - before).tolist() == expected


def test_an_image_at_the_limit_is_not_unusual(watchman: InputMonitor) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    at, beyond = input_reports(watchman.statistics, images, [1.0, 1.0001])
    assert at == {"shift": 1, "unusual": False, "hint": ""}
    assert beyond["unusual"]


def test_each_of_several_images_gets_its_own_hint(watchman: InputMonitor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    images = np.stack([np.zeros_like(noise), noise, np.zeros_like(noise), noise])
    found = input_reports(watchman.statistics, images, [4.0, 9.0, 0.25, 16.0])
    assert [one["shift"] for one in found] == [2.0, 3.0, 0.5, 4.0]
    assert [one["hint"].partition(":")[0] for one in found] == [
        "looks blank",
        "looks like noise",
        "",
        "looks like noise",
    ]


# Over HTTP.


def classify(client: httpx.Client, image: NDArray[np.uint8], mode: str = "raw") -> dict[str, Any]:
    answer = client.post(f"/classify?mode={mode}", content=encode(image), headers=PNG)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def test_a_test_image_is_as_expected(client: httpx.Client, ankle_boot: NDArray[np.uint8]) -> None:
    found = classify(client, ankle_boot)["input"]
    assert list(found) == ["shift", "unusual", "hint"]
    assert 0 < found["shift"] < 1
    assert (found["unusual"], found["hint"]) == (False, "")


def test_a_negated_picture_is_unusual_unless_it_is_put_right(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    negated = 255 - ankle_boot
    found = classify(client, negated)["input"]
    assert found["shift"] > 1
    assert (found["unusual"], found["hint"]) == (True, "looks negated: light background?")
    assert not classify(client, negated, "photo")["input"]["unusual"]


def test_each_picture_of_a_form_has_its_own(
    client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    blank = np.zeros((28, 28), np.uint8)
    pictures = [images[0], blank, images[1], 255 - images[2]]
    files = [("images", (f"{n}.png", encode(p))) for n, p in enumerate(pictures)]
    answers = client.post("/classify_batch?mode=raw", files=files).json()
    assert [answer["input"]["unusual"] for answer in answers] == [False, True, False, True]
    assert answers[1]["input"]["hint"] == "looks blank: one shade all over"
    for answer, picture in zip(answers, pictures, strict=True):
        assert answer["input"] == classify(client, picture)["input"]


def told(url: str) -> dict[str, float]:
    """The number of images in the metrics, and how many of them are unusual."""
    found = metrics(url)
    samples = (*found["fashion_input_shift"].samples, *found["fashion_input_unusual"].samples)
    return {sample.name: sample.value for sample in samples if "le" not in sample.labels}


def test_every_route_feeds_the_metrics(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    blank = np.zeros((28, 28), np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 28, 28]}
    asked = {"inputs": [tensor | {"data": blank.ravel().tolist()}]}
    # Of its own: what others ask of a server is told in the same half second.
    with (
        serving(tmp_path, FASHION_DEVICE="cpu") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        classify(client, images[0])
        classify(client, blank)
        client.post("/predict", json={"images": [[blank.tolist()], [images[0].tolist()]]})
        client.post("/v2/models/fashion_lenet/infer", json=asked).raise_for_status()
        wait_until(lambda: told(server.url).get("fashion_input_shift_count") == 5, server)
        assert told(server.url)["fashion_input_unusual_total"] == 3


def test_channels_and_drift_are_told(
    server: Server, client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    def drift() -> float:
        return float(metrics(server.url)["fashion_input_drift"].samples[0].value)

    for start in range(0, 512, 16):
        batch = images[start : start + 16, None].tolist()
        client.post("/predict", json={"images": batch}).raise_for_status()
    wait_until(lambda: 0 < drift() < 1, server)
    found = metrics(server.url)
    means, expected = (
        {s.labels["channel"]: s.value for s in found[f"fashion_input_{name}_mean"].samples}
        for name in ("channel", "expected")
    )
    assert set(means) == set("012345")
    assert means == pytest.approx(expected, abs=0.15)
    for start in range(0, 512, 16):
        batch = (255 - images[start : start + 16, None]).tolist()
        client.post("/predict", json={"images": batch}).raise_for_status()
    wait_until(lambda: drift() > 1, server)


LINE = "The model has no input statistics: the input is not monitored."


def answers_without_input(server: Server, image: NDArray[np.uint8]) -> None:
    with httpx.Client(base_url=server.url) as client:
        assert "input" not in classify(client, image)
    assert "fashion_input_shift" not in metrics(server.url)


def test_it_can_be_turned_off(tmp_path: Path, ankle_boot: NDArray[np.uint8]) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_WATCH="0") as server:
        answers_without_input(server, 255 - ankle_boot)
        assert LINE not in server.log()


def test_a_model_without_statistics_is_served_and_the_log_says_so(
    tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    path = write_model(tmp_path / "model.onnx", **{METADATA_KEY: None})
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_MODEL=str(path)) as server:
        answers_without_input(server, 255 - ankle_boot)
        assert server.log().count(LINE) == 1


def test_statistics_that_are_broken_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", **{METADATA_KEY: "{}"})
    with pytest.raises(ModelError, match="metadata input_statistics is not what"):
        load_model(ServiceSettings(model=path, device="cpu"))


def test_the_released_model_has_statistics() -> None:
    model = load_model(ServiceSettings(device="cpu"))
    assert isinstance(model.input_statistics, InputStatistics)
