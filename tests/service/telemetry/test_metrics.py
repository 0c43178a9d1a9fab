"""What /metrics says, read as Prometheus reads it."""

import json
import operator
import random
import re
import string
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import onnxruntime as ort
import psutil
import pytest
from numpy.typing import NDArray
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import (
    COUNTER_BYTES,
    MOST_CLASSES,
    OTHER_CLASSES,
    PREDICTIONS,
    _ClassCounters,
)
from service.telemetry.multiprocess import CLASS_BYTES
from tests.service.pictures import encode
from tests.serving import Server, serving, wait_until

PNG = {"Content-Type": "image/png"}
UNKNOWN_PATHS = 2000
MOST_ROUNDS = 25  # chance gives both workers enough to do in one or two


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("two_workers")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_WORKERS="2") as server:
        yield server


def metrics(url: str) -> dict[str, Metric]:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def requests(url: str) -> dict[tuple[str, str], float]:
    """The number of responses, by route and status, without the request for it.

    A request is counted once its answer has left: who has read the answer may still have to wait.
    """
    family = metrics(url).get("fashion_requests")
    return {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in (family.samples if family else ())
        if sample.name == "fashion_requests_total"
    }


def test_every_answer_is_counted_by_route_and_status(
    server: Server, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    before = requests(server.url)
    client.post("/classify", content=encode(ankle_boot), headers=PNG)
    client.post("/classify", content=b"x", headers=PNG)
    client.post("/classify", content=b"x", headers={"Content-Type": "text/plain"})
    client.get("/classify")
    client.get("/nothing")
    expected = {
        ("/classify", "200"): 1,
        ("/classify", "400"): 1,
        ("/classify", "415"): 1,
        ("/classify", "405"): 1,
        ("other", "404"): 1,
        ("/metrics", "200"): 0,
    }

    def as_expected() -> bool:
        expected["/metrics", "200"] += 1  # the question before
        after = requests(server.url)
        added = {key: after[key] - before.get(key, 0) for key in after}
        return {key: count for key, count in added.items() if count} == expected

    wait_until(as_expected, server)


def test_times_are_a_histogram_by_route(
    server: Server, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    def found() -> dict[tuple[str, str | None], float]:
        family = metrics(server.url).get("fashion_request_seconds")
        assert family is None or family.type == "histogram"
        return {
            (sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value
            for sample in (family.samples if family else ())
            if sample.labels["route"] == "/classify"
        }

    before = found()
    count = before.get(("count", None), 0) + 1
    begun = time.monotonic()
    client.post("/classify", content=encode(ankle_boot), headers=PNG)
    wait_until(lambda: found().get(("count", None)) == count, server)
    after, longest = found(), time.monotonic() - begun
    assert after["bucket", "+Inf"] == count
    assert 0 < after["sum", None] - before.get(("sum", None), 0) < longest
    assert after["bucket", "0.0005"] <= after["bucket", "0.01"] <= count


def test_the_model_and_its_device_are_told(server: Server) -> None:
    (sample,) = metrics(server.url)["fashion_model"].samples
    version = httpx.get(f"{server.url}/readyz").json()["model"]["version"]
    assert sample.labels == {"name": "fashion_lenet", "version": version, "device": "cpu"}
    assert sample.value == 1


def test_runs_of_the_network_and_the_classes_found_are_counted(
    server: Server, client: httpx.Client, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    chosen = images[:20, None]  # (N, 1, 28, 28)
    (logits,) = session.run(["logits"], {"image": chosen})  # (N, K)
    names = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    expected = Counter(names[class_id] for class_id in logits.argmax(axis=1).tolist())
    assert len(expected) > 5
    before = metrics(server.url)
    client.post("/predict", json={"images": chosen.tolist()}).raise_for_status()
    more = values(before, "fashion_batch_images", "le", "_bucket")["+Inf"] + 1

    def is_told() -> bool:
        return values(metrics(server.url), "fashion_batch_images", "le", "_bucket")["+Inf"] == more

    wait_until(is_told, server)
    after = metrics(server.url)
    found = values(after, "fashion_predictions", "label", "_total")
    for name, count in values(before, "fashion_predictions", "label", "_total").items():
        found[name] -= count
    assert found == {name: expected[name] for name in names}
    runs = values(after, "fashion_batch_images", "le", "_bucket")
    for bound, count in values(before, "fashion_batch_images", "le", "_bucket").items():
        runs[bound] -= count
    assert (runs["16.0"], runs["32.0"], runs["+Inf"]) == (0, 1, 1)


def values(families: dict[str, Metric], name: str, label: str, suffix: str) -> dict[str, float]:
    """The samples of a metric by the value of a label."""
    samples = [sample for sample in families[name].samples if sample.name == name + suffix]
    return {sample.labels[label]: sample.value for sample in samples}


def test_unknown_paths_add_no_labels(server: Server, client: httpx.Client) -> None:
    """BentoML's own metrics grow with every unknown path."""
    client.get("/nothing")
    client.post("/nothing")
    wait_until(lambda: ("other", "404") in requests(server.url), server)
    before = requests(server.url)
    (worker,) = server.workers()
    memory = worker.memory_info().rss
    chooser = random.Random(0)  # noqa: S311
    for n in range(UNKNOWN_PATHS):
        path = "".join(chooser.choices(string.ascii_letters + string.digits + "/._-", k=30))
        method = ("GET", "POST", "DELETE")[n % 3]
        assert client.request(method, f"/nothing/{path}").status_code == 404
    counted = before["other", "404"] + UNKNOWN_PATHS
    wait_until(lambda: requests(server.url)["other", "404"] == counted, server)
    assert set(requests(server.url)) == set(before)
    assert worker.memory_info().rss - memory < 20 * 2**20


def test_two_workers_share_the_work_and_are_summed(
    two_workers: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    url, content = two_workers.url, encode(ankle_boot)
    workers = two_workers.workers()
    assert len(workers) == 2
    counted, before = requests(url).get(("/classify", "200"), 0.0), list(map(seconds, workers))

    def classify(_: int) -> str:  # by a connection of its own, which either worker may take
        label: str = httpx.post(f"{url}/classify", content=content, headers=PNG).json()["label"]
        return label

    rounds = 0
    with ThreadPoolExecutor(8) as threads:
        while rounds < MOST_ROUNDS and any(map(operator.eq, before, map(seconds, workers))):
            assert set(threads.map(classify, range(40))) == {"Ankle boot"}
            rounds += 1
    assert all(map(operator.lt, before, map(seconds, workers))), "one worker did all the work"
    # The worker that is not asked tells of its own a little later.
    wait_until(lambda: requests(url)["/classify", "200"] - counted == 40 * rounds, two_workers)
    (sample,) = metrics(url)["fashion_model"].samples
    assert sample.value == 1


def seconds(worker: psutil.Process) -> float:
    """A worker's CPU seconds; the clock ticks every 10 ms."""
    times = worker.cpu_times()
    return float(times.user + times.system)


def test_stages_are_counted_where_a_request_has_them(
    server: Server, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    before = stages(server.url)
    timing = client.post("/classify", content=encode(ankle_boot), headers=PNG).headers
    client.post("/classify", content=b"x", headers=PNG)  # decoded as far as it goes
    client.get("/nothing")
    added = {name: value - before[name] for name, value in stages(server.url).items()}
    assert (added["decode", "count"], added["inference", "count"]) == (2, 1)
    (milliseconds,) = re.findall(r"inference;dur=([\d.]+)", timing["Server-Timing"])
    assert added["inference", "sum"] == pytest.approx(float(milliseconds) / 1e3, abs=1e-6)


def stages(url: str) -> dict[tuple[str, str], float]:
    """How often and how long, by stage."""
    return {
        (sample.labels["stage"], sample.name.rpartition("_")[2]): sample.value
        for sample in metrics(url)["fashion_stage_seconds"].samples
        if not sample.name.endswith("_bucket")
    }


def test_reloads_of_each_outcome_are_there_before_the_first(server: Server) -> None:
    """Prometheus sees no increase if a series did not exist before."""
    found = {
        sample.labels["result"]: sample.value
        for sample in metrics(server.url)["fashion_model_reloads"].samples
        if sample.name.endswith("_total")
    }
    assert set(found) == {"changed", "unchanged", "kept"}


def test_classes_beyond_a_thousand_or_with_long_names_share_a_counter() -> None:
    short, long = _ClassCounters(), _ClassCounters()
    other = PREDICTIONS.labels("a", OTHER_CLASSES)
    found = [short.find("a", f"class {index}") for index in range(MOST_CLASSES + 2)]
    assert [counter is other for counter in found] == [False] * MOST_CLASSES + [True] * 2
    assert short.find("a", "class 7") is found[7]
    names = [f"{index}".rjust(200, "\N{GRINNING FACE}") for index in range(MOST_CLASSES)]
    own = [name for name in names if long.find("a", name) is not other]
    assert 0 < sum(COUNTER_BYTES + len(json.dumps(name)) for name in own) <= CLASS_BYTES
    assert len(own) < MOST_CLASSES
