"""Responses of the Open Inference Protocol: floats to the last bit, classes as Triton has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from starlette.responses import Response

from service.oip.inference_request import InferenceRequest, RequestedOutput
from service.oip.rest_response import write_response
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings

NO_IMAGES = np.zeros((0, 1, 28, 28), np.uint8)
BATCHES = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.just(10)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


def respond(
    model: OnnxModel,
    outputs: Sequence[RequestedOutput],
    *found: NDArray[np.float32],
    identity: str | None = None,
) -> Response:
    return write_response(model, InferenceRequest(identity, NO_IMAGES, outputs), found)


def parts(response: Response) -> tuple[dict[str, Any], bytes]:
    """The JSON of a response, and what follows it."""
    body = bytes(response.body)
    length = int(response.headers.get("Inference-Header-Content-Length", len(body)))
    return orjson.loads(body[:length]), body[length:]


@given(BATCHES)
def test_every_float_is_the_same_to_the_last_bit(
    model: OnnxModel, found: NDArray[np.float32]
) -> None:
    response = respond(
        model,
        [RequestedOutput("logits", False), RequestedOutput("probabilities", True)],
        found,
        found,
    )
    content, behind = parts(response)
    as_json, as_binary = content["outputs"]
    numbers = np.array(as_json["data"], np.float32).reshape(as_json["shape"])
    assert numbers.tobytes() == found.tobytes()  # so that -0.0 is not 0.0
    assert behind == found.tobytes()
    assert as_binary["parameters"] == {"binary_data_size": found.nbytes}
    assert [output["datatype"] for output in content["outputs"]] == ["FP32", "FP32"]


def test_json_is_in_the_protocols_order(model: OnnxModel) -> None:
    found = np.zeros((2, 10), np.float32)
    response = respond(model, [RequestedOutput("logits", False)], found, identity="")
    assert response.media_type == "application/json"
    assert "inference-header-content-length" not in response.headers
    content, _ = parts(response)
    assert list(content) == ["model_name", "model_version", "id", "outputs"]
    assert content["id"] == ""
    assert content["outputs"][0] == {
        "name": "logits",
        "datatype": "FP32",
        "shape": [2, 10],
        "data": [0] * 20,
    }


def test_without_an_id_there_is_none(model: OnnxModel) -> None:
    content, _ = parts(respond(model, [], identity=None))
    assert list(content) == ["model_name", "model_version", "outputs"]


def test_binary_tensors_follow_in_the_order_of_the_outputs(model: OnnxModel) -> None:
    first, second = np.float32([[1] * 10]), np.float32([[2] * 10, [3] * 10])
    outputs = [RequestedOutput("probabilities", True), RequestedOutput("logits", True)]
    response = respond(model, outputs, first, second)
    assert response.media_type == "application/octet-stream"
    content, behind = parts(response)
    assert [output["name"] for output in content["outputs"]] == ["probabilities", "logits"]
    assert behind == first.tobytes() + second.tobytes()


VALUES = np.float32([[0.1, 0.5, 0.25, 0.5, 0, 0, 0, 0, 0, -1.5], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]])
BEST = ["0.500000:1:Trouser", "0.500000:3:Dress", "7.000000:9:Ankle boot", "0.000000:0:T-shirt/top"]


def test_classes_are_texts_the_best_first(model: OnnxModel) -> None:
    content, _ = parts(respond(model, [RequestedOutput("logits", False, 2)], VALUES))
    (output,) = content["outputs"]
    assert output == {"name": "logits", "datatype": "BYTES", "shape": [2, 2], "data": BEST}


def test_classes_in_binary_have_their_lengths_before_them(model: OnnxModel) -> None:
    content, behind = parts(respond(model, [RequestedOutput("logits", True, 2)], VALUES))
    expected = b"".join(bytes([len(text), 0, 0, 0]) + text.encode() for text in BEST)
    assert behind == expected
    (output,) = content["outputs"]
    assert output["parameters"] == {"binary_data_size": len(expected)}
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])


def test_there_are_no_more_classes_than_there_are(model: OnnxModel) -> None:
    content, _ = parts(respond(model, [RequestedOutput("logits", False, 10**30)], VALUES[:1]))
    (output,) = content["outputs"]
    assert output["shape"] == [1, 10]
    assert output["data"][-1] == "-1.500000:9:Ankle boot"
