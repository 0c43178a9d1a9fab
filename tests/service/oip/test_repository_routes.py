"""Several models in one server of two workers: Triton's client lists, loads and unloads them."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.pages import blocks
from tests.service.many_models import COLOUR, LABELS, OTHER_LABELS, add_model
from tests.service.models import with_wrong_golden_samples
from tests.service.pictures import encode
from tests.serving import ROOT, Server, has_started, wait_until
from tests.traffic import traffic

WORKERS = 2
ENOUGH = 16  # connections, of which each worker gets some


@pytest.fixture
def triton(many_models: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"127.0.0.1:{many_models.port}") as client:
        yield client


def everywhere(server: Server, path: str) -> list[tuple[int, Any]]:
    """The different answers of all workers, which take connections by turns."""
    found = []
    for _ in range(ENOUGH):
        with httpx.Client(base_url=server.url) as client:
            answer = client.get(path)
            pair = (answer.status_code, answer.json())
            if pair not in found:
                found.append(pair)
    return found


def test_the_index_lists_all_models(triton: InferenceServerClient) -> None:
    index = triton.get_model_repository_index()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
        ("broken", "", "UNAVAILABLE"),
        ("colour", "1.0.0", "READY"),
        ("first", "1.0.0", "READY"),
        ("second", "2", "READY"),
        ("second", "10", "READY"),
    ]
    assert "golden samples come out wrong" in index[0]["reason"]
    assert {entry["reason"] for entry in index[1:]} == {""}


def test_the_index_of_what_is_ready(many_models: Server) -> None:
    index = httpx.post(f"{many_models.url}/v2/repository/index", json={"ready": True}).json()
    assert [entry["name"] for entry in index] == ["colour", "first", "second", "second"]


def test_each_model_is_ready_or_says_why_not(
    triton: InferenceServerClient, many_models: Server
) -> None:
    for name, version in (("first", ""), ("second", ""), ("second", "2"), ("colour", "1.0.0")):
        assert triton.is_model_ready(name, version)
    assert triton.is_server_ready()
    ((status, answer),) = everywhere(many_models, "/v2/models/broken/ready")
    assert status == 503
    assert "golden samples come out wrong" in answer["error"]
    ((status, answer),) = everywhere(many_models, "/v2/models/third")
    assert (status, answer["error"]) == (
        404,
        "there is no model 'third': there is 'broken', 'colour', 'first', 'second'",
    )
    assert triton.get_model_metadata("second")["versions"] == ["2", "10"]
    assert triton.get_model_metadata("second", "2")["versions"] == ["2"]


def test_each_model_takes_images_of_its_own_shape(
    triton: InferenceServerClient, images: NDArray[np.uint8]
) -> None:
    for name, batch, version in (
        ("first", images[:3, None], "1.0.0"),
        ("second", images[:3, None], "10"),
        ("colour", COLOUR.images(3), "1.0.0"),
    ):
        tensor = InferInput("image", list(batch.shape), "UINT8")
        tensor.set_data_from_numpy(batch)
        answer = triton.infer(name, [tensor])
        assert answer.get_response()["model_name"] == name
        assert answer.get_response()["model_version"] == version
        assert answer.as_numpy("logits").shape == (3, 3 if name == "colour" else 10)


def test_a_query_chooses_the_model(many_models: Server, ankle_boot: NDArray[np.uint8]) -> None:
    png = encode(ankle_boot)
    form = [("images", ("a.png", png))]
    numbers = {"images": ankle_boot[None, None].tolist()}
    with httpx.Client(base_url=many_models.url) as client:
        for query, name, label in (
            ("", "first", LABELS[9]),
            ("?model=first", "first", LABELS[9]),
            ("?model=second&top_k=1", "second", OTHER_LABELS[9]),
        ):
            (one,) = client.post(f"/classify_batch{query}", files=form).json()
            assert one == client.post(f"/classify{query}", content=png).json()
            assert (one["model"]["name"], one["label"]) == (name, label)
            path = f"/predict{query.removesuffix('&top_k=1')}"
            assert client.post(path, json=numbers).json()["labels"] == [label]
        colour = client.post("/classify?model=colour", content=png).json()
        assert set(colour["probabilities"]) == set(COLOUR.labels)
        seen = client.post("/ui/seen?model=colour", content=png)
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/png")
        facts = client.get("/ui/model?model=colour").json()
        assert facts["labels"] == COLOUR.labels
        assert facts["models"] == ["first", "colour", "second"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/classify?model=third", 404, "there is no model 'third': there is 'broken', 'colour'"),
        ("/classify?model=", 404, "there is no model '': there is 'broken'"),
        ("/classify?model=broken", 503, "the model's golden samples come out wrong"),
        ("/classify?model=first&model=first", 400, "model is given twice, expected once"),
        ("/classify?name=first", 400, "known parameters: model, mode and top_k"),
        ("/ui/seen?model=third", 404, "there is no model 'third'"),
    ],
)
def test_a_choice_that_is_wrong(many_models: Server, path: str, status: int, error: str) -> None:
    answer = httpx.post(f"{many_models.url}{path}", content=b"no picture")
    assert answer.status_code == status
    assert error in answer.json()["error"]


def test_a_model_in_a_form_is_not_ignored(many_models: Server) -> None:
    fields: Any = {"image": b"no picture", "model": b"second"}
    answer = httpx.post(f"{many_models.url}/classify", files=fields)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the form has a field 'model': send it in the query, as ?model=NAME",
    )


def test_all_workers_unload_and_load_while_others_answer(
    triton: InferenceServerClient, many_models: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    with traffic(many_models, encode(ankle_boot)) as seen:
        for _ in range(3):
            triton.unload_model("second")
            ((status, answer),) = everywhere(many_models, "/v2/models/second/ready")
            assert (status, answer["error"]) == (503, "unloaded: a request can load it again")
            triton.load_model("second")
            ((status, _),) = everywhere(many_models, "/v2/models/second/ready")
            assert status == 200
    assert not seen.failures
    assert seen.statuses == {200}


def test_a_load_that_fails_is_undone_in_all_workers(
    triton: InferenceServerClient, many_models: Server, models_folder: Path
) -> None:
    path = with_wrong_golden_samples(models_folder / "first" / "model.onnx")
    try:
        with pytest.raises(InferenceServerException, match=r"'first' cannot be loaded: .*golden"):
            triton.load_model("first")
        ((status, _),) = everywhere(many_models, "/v2/models/first/ready")
        assert status == 200
    finally:
        add_model(models_folder, path.parent.name)


def test_a_worker_that_starts_later_serves_what_the_others_do(
    triton: InferenceServerClient, many_models: Server, models_folder: Path
) -> None:
    add_model(models_folder, "fourth")
    triton.unload_model("colour")
    triton.load_model("fourth")
    worker, _ = many_models.workers()
    os.kill(worker.pid, signal.SIGKILL)

    def are_all_back() -> bool:
        found = everywhere(many_models, "/v2/models/fourth")
        return len(many_models.workers()) == WORKERS and [status for status, _ in found] == [200]

    wait_until(are_all_back, many_models)
    triton.load_model("colour")  # in the new worker too
    triton.unload_model("fourth")
    ((status, _),) = everywhere(many_models, "/v2/models/colour/ready")
    assert status == 200


def test_the_pages_commands(many_models: Server) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (commands,) = [block for block in blocks(page, "sh") if "/v2/repository/" in block]
    script = commands.replace("http://localhost:3000", many_models.url).replace("shoes", "second")
    done = subprocess.run(
        ["/bin/sh", "-ec", script.replace("curl ", "curl --fail --silent --show-error ")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert OTHER_LABELS[9] in done.stdout
    assert '"name":"second","version":"10","state":"READY"' in done.stdout
    ((status, _),) = everywhere(many_models, "/v2/models/second/ready")
    assert status == 200


def test_what_a_load_does_not_take(many_models: Server, client: httpx.Client) -> None:
    load = "/v2/repository/models/first/load"
    with httpx.Client(base_url=many_models.url) as several:
        for path, body, error in (
            (load, {"parameters": {"config": "{}"}}, "a load takes no parameters, got ['config']"),
            (load, {"parts": {}}, "the body: expected an object with 'parameters' or none"),
            (load, [], "the body: expected an object with 'parameters' or none, got a list"),
            ("/v2/repository/index", {"ready": 1}, "ready: expected true or false, got an integer"),
        ):
            answer = several.post(path, json=body)
            assert answer.status_code == 400
            assert error in answer.json()["error"]
        missing = several.post("/v2/repository/models/..%2Fthird/load")
        assert missing.status_code == 404
        assert several.post("/v2/repository/models/third/unload").status_code == 404
    refused = client.post("/v2/repository/models/fashion_lenet/unload")
    assert refused.status_code == 403
    assert refused.json()["error"].endswith("the server's FASHION_MODEL_CONTROL is not 1")
    assert client.post("/v2/repository/index").json() == [
        {"name": "fashion_lenet", "version": "1.1.0", "state": "READY", "reason": ""}
    ]


def test_metrics_carry_the_models_name(
    many_models: Server, models_folder: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    httpx.post(f"{many_models.url}/classify?model=second", content=encode(ankle_boot))

    def names(metric: str) -> set[str]:
        text = httpx.get(f"{many_models.url}/metrics").text
        return set(re.findall(rf'^{metric}{{.*?\b(?:model|name)="(\w+)".*}} [1-9]', text, re.M))

    for metric in (
        *("fashion_predictions_total", "fashion_batch_images_count"),
        *("fashion_inference_seconds_count", "fashion_input_shift_count", "fashion_model"),
    ):
        wait_until(lambda metric=metric: "second" in names(metric), many_models)  # type: ignore[misc]
        assert names(metric) <= {"first", "second", "colour", "fourth"}
    # One that took the place of another may still be loading, and would load what is new at once.
    wait_until(lambda: sum(map(has_started, many_models.workers())) == WORKERS, many_models)
    add_model(models_folder, "first", "1.0.1")
    many_models.process.send_signal(signal.SIGHUP)

    def reloads() -> dict[str, str]:
        text = httpx.get(f"{many_models.url}/metrics").text
        return dict(re.findall(rf'reloads_total{{model="(\w+)",result="(\w+)"}} {WORKERS}', text))

    unchanged = dict.fromkeys(("colour", "second"), "unchanged")
    expected = {"broken": "kept", "first": "changed", **unchanged}
    wait_until(lambda: reloads() == expected, many_models, 60)
