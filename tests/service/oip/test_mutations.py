"""Valid requests that are changed: an answer or a 4xx with a reason, never a 5xx."""

import gzip
import json
import zlib
from typing import Any

import httpx
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

URL = "/v2/models/fashion_lenet/infer"
HEADER_LENGTH = "Inference-Header-Content-Length"
QUICK = settings(
    max_examples=300,
    derandomize=True,
    # A client may be used again, and a busy machine may take its time.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NUMBERS = st.one_of(st.integers(-1, 300), st.integers(), st.floats(allow_nan=False, width=16))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        *("id", "name", "shape", "datatype", "parameters", "data", "inputs", "outputs"),
        *("binary_data", "binary_data_size", "binary_data_output", "classification"),
    ]
)


def in_json() -> dict[str, Any]:
    return {
        "id": "1",
        "parameters": {"binary_data_output": True},
        "inputs": [
            {"name": "image", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
        ],
        "outputs": [
            {"name": "logits", "parameters": {"binary_data": False}},
            {"name": "probabilities", "parameters": {"classification": 3}},
        ],
    }


def in_binary() -> tuple[bytes, int]:
    content = in_json()
    content["inputs"][0]["parameters"] = {"binary_data_size": 784}
    del content["inputs"][0]["data"]
    text = orjson.dumps(content)
    return text + bytes(784), len(text)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container in content with each of its keys, or its first three indices."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content[:3])
    return [
        place
        for key, value in pairs
        for place in [(content, key), *(places(value) if isinstance(value, dict | list) else [])]
    ]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A request with up to three values changed, removed or added."""
    content = in_json()
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(content)))
        change = draw(st.sampled_from(["put", "remove", "add"]))
        if change == "put":
            container[key] = draw(VALUES)
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(KEYS)] = draw(VALUES)
        else:
            container.append(draw(VALUES))
        if not content:
            break
    return content


def is_answered(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        assert list(answer.json()) == ["error"]
        assert len(answer.content) < 1000


@QUICK
@given(mutated())
def test_a_changed_request(client: httpx.Client, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()  # orjson writes no integer above 64 bits
    is_answered(client.post(URL, content=body))


@QUICK
@given(st.data())
def test_changed_bytes(client: httpx.Client, data: st.DataObject) -> None:
    body, length = in_binary()
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(body)))
    header = data.draw(
        st.one_of(
            st.just(str(length)),
            st.integers(-1, len(body) + 1).map(str),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
        )
    )
    is_answered(client.post(URL, content=bytes(changed[:end]), headers={HEADER_LENGTH: header}))


@QUICK
@given(st.data())
def test_changed_compressed_bytes(client: httpx.Client, data: st.DataObject) -> None:
    coding = data.draw(st.sampled_from(["gzip", "deflate"]))
    body = (gzip if coding == "gzip" else zlib).compress(orjson.dumps(in_json()))
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    is_answered(client.post(URL, content=bytes(changed), headers={"Content-Encoding": coding}))


def test_the_request_that_is_changed_is_a_good_one(client: httpx.Client) -> None:
    assert client.post(URL, content=orjson.dumps(in_json())).status_code == 200
    body, length = in_binary()
    answer = client.post(URL, content=body, headers={HEADER_LENGTH: str(length)})
    assert answer.status_code == 200
