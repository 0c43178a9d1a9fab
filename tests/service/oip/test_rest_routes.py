"""The Open Inference Protocol, from a real server: paths, bodies and statuses."""

import asyncio
import gzip
import re
import tomllib
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import orjson
import pytest
from numpy.typing import NDArray
from starlette.applications import Starlette

from service.classifier import FashionClassifier
from service.http.error_responses import HANDLERS
from service.oip.rest_routes import INLINE_JSON_BYTES, ROUTES
from service.version import SERVER_VERSION
from tests.service.asgi_host import eventually
from tests.serving import ROOT

MODEL = "/v2/models/fashion_lenet"
INFER = f"{MODEL}/infer"
BINARY = {"Content-Type": "application/octet-stream"}


def body(images: NDArray[np.uint8], **fields: Any) -> bytes:
    """A request in JSON for images (N, 1, 28, 28)."""
    data = images.ravel().tolist()
    entry = {"name": "image", "shape": list(images.shape), "datatype": "UINT8", "data": data}
    return orjson.dumps({"inputs": [entry], **fields})


@pytest.fixture
def batch(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Five real images, (5, 1, 28, 28)."""
    return images[:5, None]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_what_it_is(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "name": "fashion-lenet-bn",
        "version": SERVER_VERSION,
        "extensions": ["binary_tensor_data", "classification", "model_repository"],
    }


def test_the_servers_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == SERVER_VERSION


def test_health(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/1.1.0"])
def test_the_model_says_what_goes_in_and_out(client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {
        "name": "fashion_lenet",
        "versions": ["1.1.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 1, 28, 28]}],
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, 10]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        ],
    }
    assert client.get(f"{path}/ready").json() == {"name": "fashion_lenet", "ready": True}


@pytest.mark.parametrize("rest", ["", "/ready", "/infer"])
def test_another_model_or_version_is_not_found(client: httpx.Client, rest: str) -> None:
    method = "POST" if rest == "/infer" else "GET"
    for path in ("/v2/models/resnet", "/v2/models/resnet/versions/1.1.0"):
        answer = client.request(method, path + rest)
        assert answer.status_code == 404
        assert answer.json() == {"error": "there is no model 'resnet': there is 'fashion_lenet'"}
    answer = client.request(method, f"{MODEL}/versions/2{rest}")
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no version '2' of fashion_lenet: there is '1.1.0'"}


@pytest.mark.parametrize(
    "path",
    ["/v2/models", "/v2/models/stats", f"{MODEL}/config", f"{MODEL}/stats", "/v2/repository"],
)
def test_what_the_protocol_does_not_have_is_not_found(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", INFER, "POST"), ("POST", MODEL, "GET"), ("PUT", "/v2", "GET")],
)
def test_a_method_that_a_path_does_not_take(
    client: httpx.Client, method: str, path: str, allow: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert allow in answer.headers["allow"]


@pytest.mark.parametrize("path", [INFER, f"{MODEL}/versions/1.1.0/infer"])
def test_an_inference_in_json(
    client: httpx.Client, session: ort.InferenceSession, batch: NDArray[np.uint8], path: str
) -> None:
    answer = client.post(path, content=body(batch, id="42", parameters={"mine": 1}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert "inference-header-content-length" not in answer.headers
    found = answer.json()
    assert (found["model_name"], found["model_version"]) == ("fashion_lenet", "1.1.0")
    assert found["id"] == "42"
    for output, expected in zip(found["outputs"], session.run(None, {"image": batch}), strict=True):
        assert output["shape"] == list(expected.shape)
        np.testing.assert_allclose(
            np.float32(output["data"]).reshape(expected.shape), expected, rtol=0, atol=1e-5
        )


def test_its_times_are_told(client: httpx.Client, batch: NDArray[np.uint8]) -> None:
    timing = client.post(INFER, content=body(batch)).headers["server-timing"]
    decode, inference, total = (float(value) for value in re.findall(r"dur=([0-9.]+)", timing))
    assert 0 < decode < total
    assert 0 < inference < total


def test_nested_flat_and_raw_images_are_answered_alike(
    client: httpx.Client, batch: NDArray[np.uint8]
) -> None:
    flat = client.post(INFER, content=body(batch)).json()
    entry = {"name": "image", "shape": [5, 1, 28, 28], "datatype": "UINT8", "data": batch.tolist()}
    assert client.post(INFER, json={"inputs": [entry]}).json() == flat
    raw = client.post(
        INFER,
        content=batch.tobytes(),
        headers={**BINARY, "Inference-Header-Content-Length": "0"},
    )
    assert raw.headers["content-type"] == "application/octet-stream"
    length = int(raw.headers["inference-header-content-length"])
    assert [output["name"] for output in orjson.loads(raw.content[:length])["outputs"]] == [
        "logits",
        "probabilities",
    ]
    numbers = [number for output in flat["outputs"] for number in output["data"]]
    assert raw.content[length:] == np.float32(numbers).tobytes()


def test_a_request_large_enough_for_a_thread_is_answered_alike(
    client: httpx.Client, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    content = body(images[:100, None], outputs=[{"name": "logits"}])
    assert len(content) > INLINE_JSON_BYTES
    answer = client.post(INFER, content=content)
    (expected,) = session.run(["logits"], {"image": images[:100, None]})
    found = np.float32(answer.json()["outputs"][0]["data"]).reshape(100, 10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert client.post(INFER, content=content[:-1]).status_code == 400


@pytest.mark.parametrize(
    "media_type",
    [
        *("application/json", "application/json; charset=utf-8", "Application/JSON"),
        *("application/octet-stream", "application/x-www-form-urlencoded"),
    ],
)
def test_types_that_clients_send_json_with_are_taken(
    client: httpx.Client, batch: NDArray[np.uint8], media_type: str
) -> None:
    answer = client.post(INFER, content=body(batch), headers={"Content-Type": media_type})
    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "image/png", "text/xml"])
def test_other_types_are_refused(client: httpx.Client, media_type: str) -> None:
    answer = client.post(INFER, content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert answer.json() == {
        "error": f"Content-Type {media_type.partition(';')[0]} is not served: send "
        "application/json or application/octet-stream"
    }


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_is_read(
    client: httpx.Client, batch: NDArray[np.uint8], coding: str
) -> None:
    content = body(batch)
    compressed = gzip.compress(content) if coding == "gzip" else zlib.compress(content)
    answer = client.post(INFER, content=compressed, headers={"Content-Encoding": coding})
    assert answer.json() == client.post(INFER, content=content).json()
    answer = client.post(INFER, content=compressed[:-9], headers={"Content-Encoding": coding})
    assert answer.status_code == 400
    answer = client.post(INFER, content=content, headers={"Content-Encoding": coding})
    assert answer.status_code == 400
    assert coding in answer.json()["error"]


def test_another_content_encoding_is_refused_with_those_served(client: httpx.Client) -> None:
    answer = client.post(INFER, content=b"{}", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate"


def test_a_body_that_inflates_over_the_limit_is_refused(client: httpx.Client) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    answer = client.post(INFER, content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert answer.json() == {"error": "the body inflates to more than 10,485,760 bytes, the limit"}


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    answer = client.post(INFER, content=bytes(10 * 2**20 + 1), headers=BINARY)
    assert answer.status_code == 413


def test_a_batch_as_large_as_the_body_may_be_is_answered(client: httpx.Client) -> None:
    count = 10 * 2**20 // 784
    answer = client.post(
        INFER,
        content=bytes(count * 784),
        headers={**BINARY, "Inference-Header-Content-Length": "0"},
    )
    assert answer.status_code == 200
    length = int(answer.headers["inference-header-content-length"])
    assert len(answer.content) - length == count * 2 * 10 * 4


def test_metrics_count_by_paths_without_names(client: httpx.Client) -> None:
    client.get("/v2/models/one/ready")
    client.get("/v2/models/other/versions/7/ready")
    counted = 'route="/v2/models/{name}/ready",status="404"'
    eventually(lambda: counted in client.get("/metrics").text)
    assert "other/versions" not in client.get("/metrics").text


def test_without_a_model_the_server_lives_and_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASHION_MODEL", str(tmp_path / "missing.onnx"))
    app = Starlette(routes=ROUTES, exception_handlers=HANDLERS)
    app.state.data_plane = FashionClassifier().data_plane

    async def ask(method: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path)

    for path in ("/v2/health/live", "/v2"):
        assert asyncio.run(ask("GET", path)).status_code == 200
    for path in ("/v2/health/ready", MODEL, f"{MODEL}/ready", f"{MODEL}/versions/1.1.0/ready"):
        answer = asyncio.run(ask("GET", path))
        assert answer.status_code == 503
        assert "missing.onnx: No such file or directory" in answer.json()["error"]
    assert asyncio.run(ask("POST", INFER)).status_code == 503
