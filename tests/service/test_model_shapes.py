"""A server that reloads models of other shapes and classes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import onnxruntime as ort
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.preprocessing.pipeline import PreprocessedImage, open_image, preprocess
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
from service.signature import ImageSpec
from service.telemetry.metrics import OTHER_CLASSES
from tests.service.networks import NETWORKS, Network
from tests.service.pictures import save
from tests.serving import ROOT, Server, environment, serving, wait_until

OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class Served:
    """A model, and the server that serves it."""

    network: Network
    path: Path
    spec: ImageSpec
    session: ort.InferenceSession
    server: Server
    client: httpx.Client

    def outputs(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """In-process ONNX Runtime's logits and probabilities, (N, K) each."""
        found: list[NDArray[np.float32]] = self.session.run(list(OUTPUTS), {"image": images})
        return found

    @property
    def infer(self) -> str:
        return f"/v2/models/{self.network.name}/infer"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that starts with the first network."""
    folder = tmp_path_factory.mktemp("shapes")
    path = NETWORKS[0].write(folder / "model.onnx")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_MODEL=str(path)) as server:
        yield server, path


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def served(running: tuple[Server, Path], request: pytest.FixtureRequest) -> Iterator[Served]:
    """The server after a SIGHUP, with a model of another shape than the last one."""
    server, path = running
    network: Network = request.param
    network.write(path)
    server.process.send_signal(signal.SIGHUP)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        wait_until(lambda: client.get(f"/v2/models/{network.name}").status_code == 200, server)
        settings = ServiceSettings(device="cpu", model=path, threads=1)
        model = load_model(settings)
        spec = model.signature.image
        yield Served(network, path, spec, model.session, server, client)


def picture(size: tuple[int, int], seed: int = 0) -> bytes:
    """A PNG in colour."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return save(Image.fromarray(pixels), "PNG")


def seen_by(served: Served, content: bytes) -> PreprocessedImage:
    return preprocess(open_image(content, 10**6), served.spec)


def test_the_metadata_have_its_shape_and_classes(served: Served) -> None:
    found = served.client.get(f"/v2/models/{served.network.name}").json()
    assert found["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, *served.network.shape]}
    ]
    assert found["outputs"] == [
        {"name": name, "datatype": "FP32", "shape": [-1, served.network.classes]}
        for name in OUTPUTS
    ]


@pytest.mark.parametrize("size", [(90, 75), (300, 200)], ids=["small", "large"])
def test_classify(served: Served, size: tuple[int, int]) -> None:
    content = picture(size)
    seen = seen_by(served, content)
    _, probabilities = served.outputs(seen.pixels[None])
    for answer in (
        served.client.post("/classify", files={"image": content}),
        served.client.post("/classify", content=content, headers={"Content-Type": "image/png"}),
    ):
        found = answer.json()
        assert answer.status_code == 200, found
        assert found["class_id"] == int(probabilities[0].argmax())
        assert found["label"] == served.network.labels[found["class_id"]]
        assert found["preprocessing"] == seen.preprocessing
        assert list(found["probabilities"]) == served.network.labels
        sent = np.array(list(found["probabilities"].values()), np.float32)
        np.testing.assert_array_equal(sent, probabilities[0])


def test_classify_batch_and_top_k(served: Served) -> None:
    contents = [picture((40 + 7 * n, 60), n) for n in range(3)]
    form = [("images", (f"{n}.png", content)) for n, content in enumerate(contents)]
    found = served.client.post("/classify_batch?top_k=2", files=form).json()
    images = np.stack([seen_by(served, content).pixels for content in contents])
    _, probabilities = served.outputs(images)
    assert [one["class_id"] for one in found] == probabilities.argmax(axis=1).tolist()
    assert all(len(one["probabilities"]) == 2 for one in found)


def test_a_top_k_beyond_the_classes_is_refused_in_one_short_line(served: Served) -> None:
    answer = served.client.post(f"/classify?top_k={served.network.classes + 1}", content=b"x")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.startswith(f"top_k is '{served.network.classes + 1}', expected one of 1, 2")
    assert error.endswith(str(served.network.classes))
    assert len(error) < 100


def test_a_mode_that_the_pipeline_does_not_have_is_refused(served: Served) -> None:
    answer = served.client.post("/classify?mode=photo", content=picture((50, 50)))
    if served.spec.pipeline == "fashion-mnist":
        assert answer.status_code == 200
        assert answer.json()["preprocessing"]["mode"] == "photo"
    else:
        assert answer.status_code == 400
        assert answer.json()["error"] == "mode is 'photo', expected auto"


def test_predict(served: Served) -> None:
    images = served.network.images(3, seed=5)
    found = served.client.post("/predict", json={"images": images.tolist()}).json()
    _, probabilities = served.outputs(images)
    np.testing.assert_array_equal(np.array(found["probabilities"], np.float32), probabilities)
    assert found["labels"] == [served.network.labels[k] for k in probabilities.argmax(axis=1)]
    wrong = served.client.post("/predict", json={"images": [[[[0]]]]})
    assert wrong.status_code == 400
    assert wrong.json()["error"] == (
        f"images: expected N x {' x '.join(map(str, served.network.shape))} integers from 0 to "
        "255, got shape (1, 1, 1, 1)"
    )


@pytest.mark.parametrize("count", [1, 3, 70])
@pytest.mark.parametrize("kind", ["JSON", "nested JSON", "binary", "raw"])
def test_the_open_inference_protocol_gives_onnxruntimes_bits(
    served: Served, count: int, kind: str
) -> None:
    images = served.network.images(count, seed=count)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape)}
    if kind == "raw":
        headers, body = {"Inference-Header-Content-Length": "0"}, images.tobytes()
    elif kind == "binary":
        tensor["parameters"] = {"binary_data_size": images.nbytes}
        text = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        headers, body = {"Inference-Header-Content-Length": str(len(text))}, text + images.tobytes()
    else:
        tensor["data"] = images.tolist() if kind == "nested JSON" else images.ravel().tolist()
        headers, body = {}, orjson.dumps({"inputs": [tensor]})
    answer = served.client.post(served.infer, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    for found, expected in zip(arrays(answer), served.outputs(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def arrays(answer: httpx.Response) -> list[NDArray[np.float32]]:
    """The outputs of an answer in JSON or binary, (N, K) each."""
    length = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
    place, found = length, []
    for output in json.loads(answer.content[:length])["outputs"]:
        if "data" in output:
            values = np.array(output["data"], np.float32)
        else:
            size = output["parameters"]["binary_data_size"]
            values = np.frombuffer(answer.content[place : place + size], "<f4")
            place += size
        found.append(values.reshape(output["shape"]))
    return found


def test_a_tensor_of_another_shape_is_refused(served: Served) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 9, 9], "data": [0] * 81}
    answer = served.client.post(served.infer, json={"inputs": [tensor]})
    expected = ", ".join(map(str, served.network.shape))
    assert answer.status_code == 400
    assert f"expected [N, {expected}], got [1, 1, 9, 9]" in answer.json()["error"]


def test_the_description_and_the_page_follow_it(served: Served) -> None:
    description = served.client.get("/docs.json").json()["info"]["description"]
    assert f"the model `{served.network.name}` " in description
    assert f"of {served.network.classes:,} classes" in description
    page = served.client.get("/ui/model").json()
    C, H, W = served.network.shape
    assert page["image"] == {"channels": C, "height": H, "width": W}
    assert page["labels"] == served.network.labels


def test_the_page_shows_what_the_model_sees(served: Served) -> None:
    content = picture((80, 60))
    answer = served.client.post("/ui/seen", files={"image": content})
    with Image.open(BytesIO(answer.content)) as image:
        pixels = np.asarray(image)
    expected = seen_by(served, content).pixels
    expected = expected[0] if len(expected) == 1 else expected.transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels, expected)


def test_the_metrics_count_its_classes(served: Served) -> None:
    content = picture((64, 64), seed=9)
    label = served.client.post("/classify", files={"image": content}).json()["label"]
    # Classes that come after a thousand others share a counter.
    labels = {label, OTHER_CLASSES}

    def counted() -> float:
        families = text_string_to_metric_families(served.client.get("/metrics").text)
        return sum(
            sample.value
            for family in families
            if family.name == "fashion_predictions"
            for sample in family.samples
            if sample.labels.get("label") in labels
        )

    before = counted()
    served.client.post("/classify", files={"image": content})
    wait_until(lambda: counted() > before, served.server)


def test_classification_without_a_server(served: Served, tmp_path: Path) -> None:
    content = picture((70, 50), seed=3)
    (tmp_path / "a.png").write_bytes(content)
    classes = ["classify", "a.png", "--json", "--top-k", "2", "--model", str(served.path)]
    found = json.loads(run(tmp_path, *classes))
    online = served.client.post("/classify?top_k=2", files={"image": content}).json()
    assert found == {"file": "a.png", **online}
    run(tmp_path, *classes[:2], "--out", "rows.jsonl", "--top-k", "2", *classes[-2:])
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == found
    shape = " x ".join(map(str, served.network.shape))
    information = run(tmp_path, "info", "--model", str(served.path))
    assert f"uint8, N x {shape}; pictures by {served.spec.pipeline}" in information


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=folder,
        env=environment(folder, {"FASHION_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
