"""`/predict`: the network's answers for images as numbers, and the errors for anything else."""

import json
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.rest.predict import INLINE_PREDICT_BYTES, read_images
from tests.service.pictures import FASHION

EXPECTED = "N x 1 x 28 x 28 integers from 0 to 255"
JSON = {"Content-Type": "application/json"}


def body(count: int = 2) -> dict[str, Any]:
    return {"images": np.zeros((count, 1, 28, 28), int).tolist()}


@pytest.mark.parametrize("count", [1, 2, 300])
def test_predictions_are_onnxruntimes_own(
    count: int, client: httpx.Client, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    content = json.dumps({"images": images[:count, None].tolist()}).encode()
    assert (len(content) <= INLINE_PREDICT_BYTES) == (count == 1)
    answer = client.post("/predict", content=content, headers=JSON)
    assert answer.status_code == 200
    (expected,) = session.run(["probabilities"], {"image": images[:count, None]})  # (N, K)
    found = answer.json()
    assert list(found) == ["probabilities", "class_ids", "labels"]
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-6)
    assert found["class_ids"] == expected.argmax(axis=1).tolist()
    assert found["labels"][:1] == ["Ankle boot"]


@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_images_come_out_as_they_went_in(count: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, 1, 28, 28), np.uint8)
    found = read_images(json.dumps({"images": images.tolist()}).encode(), FASHION)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the body is not JSON: "),
        ("{", "the body is not JSON: "),
        ('{"images": [[[[NaN]]]]}', "the body is not JSON: "),
        ("[1]", f'the body: expected {{"images": {EXPECTED}}}, got a list'),
        ("null", f'the body: expected {{"images": {EXPECTED}}}, got null'),
        ("{}", "the body's keys: expected 'images' alone, got none"),
        ('{"image": []}', "the body's keys: expected 'images' alone, got 'image'"),
        (
            '{"images": [], "model": 1}',
            "the body's keys: expected 'images' alone, got 'images', ",
        ),
        ('{"images": 7}', f"images: expected {EXPECTED}, got an integer"),
        ('{"images": "http://x/y.png"}', f"images: expected {EXPECTED}, got a string"),
        ('{"images": {}}', f"images: expected {EXPECTED}, got an object"),
        ('{"images": []}', f"images: expected {EXPECTED}, got shape (0)"),
        ('{"images": [[]]}', f"images: expected {EXPECTED}, got shape (1, 0)"),
        (
            '{"images": ' + "[" * 900 + "]" * 900 + "}",
            f"images: expected {EXPECTED}, got shape (1, 1, 1, 1, 1, 1, 1, 1)",
        ),
        ('{"images": ' + "[" * 9000 + "]" * 9000 + "}", "the body is not JSON: "),
    ],
)
def test_what_is_no_such_json(content: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_images(content.encode(), FASHION)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "shape", [(1,), (28, 28), (1, 28, 28), (2, 3, 28, 28), (1, 1, 27, 28), (1, 1, 28, 28, 1)]
)
def test_another_shape_is_told(shape: tuple[int, ...]) -> None:
    content = json.dumps({"images": np.zeros(shape, int).tolist()}).encode()
    with pytest.raises(InvalidInput) as caught:
        read_images(content, FASHION)
    seen = ", ".join(map(str, shape))
    assert str(caught.value) == f"images: expected {EXPECTED}, got shape ({seen})"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-1, "the element -1"),
        (256, "the element 256"),
        (2**63, f"the element {2**63}"),
        (
            2**70,
            "an element that is a number with a fraction or exponent",
        ),  # to orjson
        (1.0, "an element that is a number with a fraction or exponent"),
        (0.5, "an element that is a number with a fraction or exponent"),
        (True, "an element that is true or false"),
        (False, "an element that is true or false"),
        ("7", "an element that is a string"),
        (None, "an element that is null"),
        ({}, "an element that is an object"),
        ([1], "ragged lists"),
    ],
)
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 0, 27, 27)])
def test_a_value_that_is_no_pixel_is_told(
    value: Any, reason: str, place: tuple[int, int, int, int]
) -> None:
    content = body()
    n, c, row, column = place
    content["images"][n][c][row][column] = value
    if place == (0, 0, 0, 0) and value == [1]:
        reason = "shape (2, 1, 28, 28, 1)"
    with pytest.raises(InvalidInput) as caught:
        read_images(json.dumps(content).encode(), FASHION)
    assert str(caught.value) == f"images: expected {EXPECTED}, got {reason}"


@pytest.mark.parametrize("wrong", [[0] * 27, [0] * 29, [], 0, None])
def test_a_row_of_another_length_is_told(wrong: Any) -> None:
    content = body()
    content["images"][1][0][5] = wrong
    with pytest.raises(InvalidInput, match=f"^images: expected {EXPECTED}, got ragged lists$"):
        read_images(json.dumps(content).encode(), FASHION)


@pytest.mark.parametrize("wrong", ["abc", "a" * 28, {"a": 1}])
def test_a_row_of_another_kind_is_told(wrong: Any) -> None:
    content = body()
    content["images"][1][0][5] = wrong
    with pytest.raises(
        InvalidInput, match=f"^images: expected {EXPECTED}, got an element that is a string$"
    ):
        read_images(json.dumps(content).encode(), FASHION)


def test_rows_of_the_right_number_in_all_are_still_ragged() -> None:
    content = body()
    content["images"][1][0][5], content["images"][1][0][6] = [0] * 27, [0] * 29
    with pytest.raises(InvalidInput, match="got ragged lists"):
        read_images(json.dumps(content).encode(), FASHION)


def test_a_long_string_takes_no_memory_for_every_number() -> None:
    """NumPy would do that: all elements of an array have the length of the longest."""
    content = body(300)
    content["images"][0][0][0][1] = "x" * 5_000_000
    with pytest.raises(InvalidInput, match="an element that is a string"):
        read_images(json.dumps(content).encode(), FASHION)


@pytest.mark.parametrize("kind", ["", "text/plain", "image/png", "application/vnd.bentoml+pickle"])
def test_another_type_is_refused(kind: str, client: httpx.Client) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/predict", content=json.dumps(body()), headers=headers)
    assert answer.status_code == 415
    assert answer.json() == {
        "error": f"Content-Type {kind or '(none)'} is not served here: send application/json"
    }


def test_json_may_name_its_charset(client: httpx.Client) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/predict", content=json.dumps(body()), headers=headers).is_success


def test_errors_come_as_json_over_http(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": 7})
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    answer = client.post("/predict", content=bytes(10 * 2**20 + 1), headers=JSON)
    assert answer.status_code == 413
    assert "the body has 10,485,761 bytes, 10,485,760 are the limit" in answer.json()["error"]
