"""Requests of the Open Inference Protocol: what is read, and the errors of the others."""

import re
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.oip.inference_request import HEAD_CACHE_BYTES, RequestedOutput
from service.oip.rest_request import parse_request

ONE = np.arange(784, dtype=np.uint8).reshape(1, 1, 28, 28)
SHAPE = (1, 28, 28)
ALL = [RequestedOutput("logits", False), RequestedOutput("probabilities", False)]


def request(images: NDArray[np.uint8] = ONE, **fields: Any) -> dict[str, Any]:
    """A request with its data in JSON."""
    content = {"data": images.ravel().tolist()}
    return {"inputs": [image(images, **content)], **fields}


def image(images: NDArray[np.uint8] = ONE, **fields: Any) -> dict[str, Any]:
    return {"name": "image", "shape": list(images.shape), "datatype": "UINT8", **fields}


def binary(images: NDArray[np.uint8] = ONE, **fields: Any) -> tuple[bytes, str]:
    """A request with its data behind the JSON, and the length of the JSON."""
    entry = image(images, parameters={"binary_data_size": images.size})
    text = orjson.dumps({"inputs": [entry], **fields})
    return text + images.tobytes(), str(len(text))


def refused(body: Any, header_length: str | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_request(body if isinstance(body, bytes) else orjson.dumps(body), header_length, SHAPE)
    return str(caught.value)


def test_json_and_binary_say_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), np.uint8)
    body = orjson.dumps(request(images, id="a"))
    for sent in ((body, None), (body, str(len(body))), binary(images, id="a")):
        found = parse_request(*sent, SHAPE)
        np.testing.assert_array_equal(found.images, images)
        assert (found.identity, found.outputs) == ("a", ALL)


def test_binary_images_are_the_bodys_own_bytes() -> None:
    body, length = binary()
    assert np.shares_memory(
        parse_request(body, length, SHAPE).images, np.frombuffer(body, np.uint8)
    )


def test_the_same_json_before_other_images_is_another_request() -> None:
    generator = np.random.default_rng(0)
    for _ in range(3):
        images = generator.integers(0, 256, (3, 1, 28, 28), np.uint8)
        body, length = binary(images, id="a")
        np.testing.assert_array_equal(parse_request(body, length, SHAPE).images, images)
        assert "2,351 bytes follow the JSON" in refused(body[:-1], length)
        wrong, length = binary(images, id=7)
        assert "got 7" in refused(wrong, length)


def test_only_short_json_before_binary_images_is_remembered() -> None:
    """All other JSON is likely not sent again, and would stay in memory."""

    small = np.zeros((1, 1, 1, 1), np.uint8)

    def remembered(body: bytes, length: str) -> bool:
        first, second = (parse_request(body, length, (1, 1, 1)) for _ in range(2))
        return first.outputs is second.outputs

    longest = HEAD_CACHE_BYTES - int(binary(small, id="")[1])
    assert remembered(*binary(small, id="a" * longest))
    assert not remembered(*binary(small, id="a" * (longest + 1)))
    text = orjson.dumps(request(small))
    assert len(text) < HEAD_CACHE_BYTES
    assert not remembered(text, str(len(text)))


def test_lists_of_small_images_are_no_longer_than_others() -> None:
    images = np.zeros((2000, 1, 8, 8), np.uint8)
    body = orjson.dumps({"inputs": [image(images, data=images.tolist())]})
    np.testing.assert_array_equal(parse_request(body, None, (1, 8, 8)).images, images)


def test_a_header_length_of_0_makes_the_body_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), np.uint8)
    found = parse_request(images.tobytes(), "0", SHAPE)
    np.testing.assert_array_equal(found.images, images)
    assert [(output.name, output.binary) for output in found.outputs] == [
        ("logits", True),
        ("probabilities", True),
    ]
    for body in (b"", bytes(783), bytes(785)):
        message = refused(body, "0")
        assert "expected 784 bytes for each image" in message
        assert message.endswith(f"got {len(body)} bytes")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ALL),
        ({"outputs": []}, ALL),
        ({"outputs": [{"name": "probabilities"}]}, [RequestedOutput("probabilities", False)]),
        ({"outputs": [{"name": "probabilities"}, {"name": "logits"}]}, ALL[::-1]),
        (
            {"parameters": {"binary_data_output": True}},
            [RequestedOutput("logits", True), RequestedOutput("probabilities", True)],
        ),
        (
            {
                "parameters": {"binary_data_output": True, "mine": [1]},
                "outputs": [
                    {"name": "logits", "parameters": {"binary_data": False, "mine": None}},
                    {"name": "probabilities", "parameters": {"classification": 3}},
                ],
            },
            [RequestedOutput("logits", False), RequestedOutput("probabilities", True, 3)],
        ),
        (
            {"outputs": [{"name": "logits", "parameters": {"classification": 1}}]},
            [RequestedOutput("logits", False, 1)],
        ),
    ],
)
def test_outputs_are_as_the_client_wants_them(
    fields: dict[str, Any], expected: list[RequestedOutput]
) -> None:
    assert parse_request(orjson.dumps(request(**fields)), None, SHAPE).outputs == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"id": None, "parameters": None, "outputs": None},  # as KServe's SDK sends them
        {"parameters": {"binary_data_output": None}},
        {"outputs": [{"name": "logits", "parameters": None}, {"name": "probabilities"}]},
        {
            "outputs": [
                {"name": "logits", "parameters": {"binary_data": None, "classification": None}},
                {"name": "probabilities", "parameters": {"shared_memory_region": None}},
            ]
        },
    ],
)
def test_null_means_absent(fields: dict[str, Any]) -> None:
    content = request(**fields)
    none = {"binary_data_size": None, "shared_memory_region": None}
    for parameters in (None, {}, none):
        content["inputs"][0]["parameters"] = parameters
        found = parse_request(orjson.dumps(content), None, SHAPE)
        assert (found.identity, found.outputs) == (None, ALL)
        np.testing.assert_array_equal(found.images, ONE)


def test_null_data_are_no_data() -> None:
    body, _ = binary()
    content = orjson.loads(body[: -ONE.size])
    content["inputs"][0]["data"] = None
    text = orjson.dumps(content)
    np.testing.assert_array_equal(
        parse_request(text + ONE.tobytes(), str(len(text)), SHAPE).images, ONE
    )
    message = (
        "the input 'image' has neither data nor binary_data_size; expected exactly one of them"
    )
    assert refused({"inputs": [image(data=None)]}) == message


def test_what_the_protocol_does_not_name_is_passed_over() -> None:
    content = request(model_name="fashion_lenet", parameters={"sequence_id": 7, "mine": {"a": []}})
    content["inputs"][0]["parameters"] = {"content_type": "np"}
    assert parse_request(orjson.dumps(content), None, SHAPE).outputs == ALL


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"id": 7}, "id of the request: expected a string, got 7"),
    ({"parameters": []}, "parameters of the request: expected an object, got []"),
    (
        {"parameters": {"binary_data_output": 1}},
        "binary_data_output of the parameters object: expected true or false, got 1",
    ),
    ({"inputs": {}}, "inputs of the request: expected a list, got {}"),
    ({"inputs": []}, "the inputs: expected one called 'image', got []"),
    ({"inputs": [7]}, "inputs: expected objects with a name, got 7"),
    ({"inputs": [{}]}, "an input has no name: expected a string"),
    ({"inputs": [{"name": 7}]}, "name of an input: expected a string, got 7"),
    ({"inputs": [{"name": "x"}]}, "the inputs: expected one called 'image', got ['x']"),
    (
        {"inputs": [image(), image()]},
        "the inputs: expected one called 'image', got ['image', 'image']",
    ),
    ({"inputs": [{"name": "image"}]}, "the input 'image' has no datatype: expected a string"),
    (
        {"inputs": [image(datatype="FP32")]},
        "the datatype of 'image': expected UINT8, got 'FP32'",
    ),
    ({"inputs": [image(datatype=None)]}, "the input 'image' has no datatype: expected a string"),
    ({"inputs": [image(shape="1")]}, "shape of the input 'image': expected a list, got '1'"),
    (
        {"inputs": [image(shape=[28, 28])]},
        "the shape of 'image': expected [N, 1, 28, 28], got [28, 28]; N is the number of images, "
        "at least 1; one image is [1, 1, 28, 28]",
    ),
    (
        {"inputs": [image(shape=[2**62, 1, 28, 28], data=[0] * 784)]},
        f"the data of 'image' has 784 numbers, its shape [{2**62}, 1, 28, 28] needs "
        f"{2**62 * 784:,}",
    ),
    (
        {"inputs": [image()]},
        "the input 'image' has neither data nor binary_data_size; expected exactly one of them",
    ),
    (
        {"inputs": [image(data=[], parameters={"binary_data_size": 784})]},
        "the input 'image' has both data and binary_data_size; expected exactly one of them",
    ),
    (
        {"inputs": [image(parameters={"binary_data_size": "784"})]},
        "binary_data_size of the parameters object of 'image': expected an integer, got '784'",
    ),
    (
        {"inputs": [image(parameters={"binary_data_size": True})]},
        "binary_data_size of the parameters object of 'image': expected an integer, got True",
    ),
    (
        {"inputs": [image(parameters={"binary_data_size": -784})]},
        "the binary_data_size of 'image' is -784, its shape needs 784",
    ),
    (
        {"inputs": [image(parameters={"binary_data_size": 784})]},
        "0 bytes follow the JSON, the inputs need 784; Inference-Header-Content-Length says "
        "where the JSON ends",
    ),
    (
        {"inputs": [image(parameters={"shared_memory_region": "mine"})]},
        "the input 'image' asks for shared memory, which is not served: leave out "
        "shared_memory_region",
    ),
    (
        {"inputs": [image(parameters=[])]},
        "parameters of the input 'image': expected an object, got []",
    ),
    (
        {"outputs": [{"name": "logits", "parameters": []}]},
        "parameters of the output 'logits': expected an object, got []",
    ),
    ({"outputs": ["logits"]}, "outputs: expected objects with a name, got 'logits'"),
    ({"outputs": [{}]}, "an output has no name: expected a string"),
    (
        {"outputs": [{"name": "labels"}]},
        "there is no output 'labels': there are logits, probabilities",
    ),
    (
        {"outputs": [{"name": "logits"}, {"name": "logits"}]},
        "the outputs: expected each at most once, got ['logits', 'logits']",
    ),
    (
        {"outputs": [{"name": "logits", "parameters": {"binary_data": "true"}}]},
        "binary_data of the parameters object of 'logits': expected true or false, got 'true'",
    ),
    *(
        (
            {"outputs": [{"name": "logits", "parameters": {"classification": count}}]},
            "the classification of 'logits': expected a number of classes, at least 1, got "
            f"{count}",
        )
        for count in (0, -1)
    ),
    *(
        (
            {"outputs": [{"name": "logits", "parameters": {"classification": count}}]},
            "classification of the parameters object of 'logits': expected an integer, got "
            f"{count!r}",
        )
        for count in ("3", 3.0, True)
    ),
    (
        {"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "mine"}}]},
        "the output 'logits' asks for shared memory, which is not served: leave out "
        "shared_memory_region",
    ),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_FIELDS, ids=range(len(WRONG_FIELDS)))
def test_a_wrong_field_is_named(fields: dict[str, Any], message: str) -> None:
    assert refused(request(**fields)) == message


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[NaN]", b"\xff", b'{"inputs": [1e999]}', b'{"id": "\\ud800"}', b"[" * 5000),
        orjson.dumps(request()) + b"x",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    message = refused(body)
    assert message.startswith("the body is not JSON: ")
    assert len(message) < 300


@pytest.mark.parametrize("body", [[], "x", 7, None, True])
def test_json_that_is_no_object_is_refused(body: Any) -> None:
    assert refused(body) == f"the body: expected an object with inputs, got {body!r}"


@pytest.mark.parametrize(
    "length", ["", "-1", "+5", "x", "1e3", " 5", "5 ", "٣", "²", "1_0", "9" * 5000, "100000"]
)
def test_a_header_length_that_lies_is_refused(length: str) -> None:
    body, _ = binary()
    message = refused(body, length)
    assert message.startswith(
        "Inference-Header-Content-Length: expected the number of the body's bytes that are JSON, "
        f"at most all {len(body):,}, got '"
    )
    assert len(message) < 300


def test_a_header_length_that_is_off_is_refused() -> None:
    body, length = binary()
    for other in (int(length) - 1, int(length) + 1, len(body)):
        assert refused(body, str(other)).startswith("the body is not JSON")


@pytest.mark.parametrize("change", [b"x", b"", bytes(784)])
def test_bytes_too_few_or_too_many_are_refused(change: bytes) -> None:
    body, length = binary()
    body = body + change if change else body[:-1]
    assert re.match(
        r"(783|785|1,568) bytes follow the JSON, the inputs need 784;", refused(body, length)
    )


def test_bytes_behind_a_request_in_json_are_refused() -> None:
    text = orjson.dumps(request())
    assert refused(text + b"abc", str(len(text))).startswith(
        "3 bytes follow the JSON, the inputs need 0;"
    )


def test_a_size_that_does_not_fit_the_shape_is_refused() -> None:
    entry = image(parameters={"binary_data_size": 785})
    text = orjson.dumps({"inputs": [entry]})
    assert refused(text + bytes(785), str(len(text))) == (
        "the binary_data_size of 'image' is 785, its shape needs 784"
    )
