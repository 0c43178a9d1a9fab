"""Calls that are refused, cancelled or too many: each has its status code, and HTTP's text."""

import asyncio
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc.service_pb2 import ModelInferRequest

from service.grpc.calls import Calls
from service.inference.load_limiter import LoadLimiter
from service.settings import ServiceSettings
from service.telemetry.access_log import AccessLog
from tests.service.grpc.conftest import (
    MAX_BODY_BYTES,
    SERVICE,
    GRPCServer,
    method,
    refused,
    request,
)
from tests.serving import wait_until

ONE = bytes(784)
MANY = MAX_BODY_BYTES // 784  # images in the largest message, whose rest has room for its head


def raw(shape: tuple[int, ...] = (1, 1, 28, 28), **fields: Any) -> ModelInferRequest:
    """A request for zeros."""
    content = bytes(np.prod(shape))
    return request(list(shape), **{"raw_input_contents": [content], **fields})


def changed(change: Callable[[ModelInferRequest], object]) -> bytes:
    found = raw()
    change(found)
    content: bytes = found.SerializeToString()
    return content


def output(name: str, **parameters: int) -> Callable[[ModelInferRequest], None]:
    def change(sent: ModelInferRequest) -> None:
        entry = sent.outputs.add(name=name)
        for key, value in parameters.items():
            entry.parameters[key].int64_param = value

    return change


def typed(**contents: Any) -> bytes:
    found = request([1, 1, 28, 28])
    for name, values in contents.items():
        getattr(found.inputs[0].contents, name).extend(values)
    content: bytes = found.SerializeToString()
    return content


def shared_memory(sent: ModelInferRequest) -> None:
    sent.inputs[0].parameters["shared_memory_region"].string_param = "region"


def text_classification(sent: ModelInferRequest) -> None:
    entry = sent.outputs.add(name="logits")
    entry.parameters["classification"].string_param = "two"


FAULTS = {
    "no protobuf": (b"\xff\xff", "the message is no ModelInferRequest"),
    "text that is no UTF-8": (b"\x0a\x01\xff", "the message is no ModelInferRequest"),
    "a field cut off": (raw().SerializeToString()[:-1], "the message is no ModelInferRequest"),
    "a length that lies": (b"\x3a\xff\xff\xff\x7f" + ONE, "the message is no ModelInferRequest"),
    "too many fields": (b"\x2a\x00" * 50_000, "the message has more than 10,000 fields"),
    "a number without end": (b"\x80" * 100_000, "the message is no ModelInferRequest"),
    "no input": (changed(lambda sent: sent.ClearField("inputs")), "expected one called 'image'"),
    "two inputs": (changed(lambda sent: sent.inputs.add(name="image")), "expected one called"),
    "many inputs": (
        changed(lambda sent: [sent.inputs.add(name="image") for _ in range(1000)]),
        "expected one called 'image', got ['image', 'image',",
    ),
    "a datatype": (
        changed(lambda sent: setattr(sent.inputs[0], "datatype", "FP32")),
        "the datatype of 'image': expected UINT8, got 'FP32'",
    ),
    "no datatype": (
        changed(lambda sent: sent.inputs[0].ClearField("datatype")),
        "the datatype of 'image': expected UINT8, got ''",
    ),
    "a shape": (
        changed(lambda sent: sent.inputs[0].shape.__setitem__(3, 29)),
        "the shape of 'image': expected [N, 1, 28, 28], got [1, 1, 28, 29]",
    ),
    "a negative shape": (
        changed(lambda sent: sent.inputs[0].shape.__setitem__(0, -1)),
        "got [-1, 1, 28, 28]",
    ),
    "too few bytes": (
        changed(lambda sent: sent.inputs[0].shape.__setitem__(0, 2)),
        "have 784 bytes, its shape [2, 1, 28, 28] needs 1,568",
    ),
    "a shape beyond any memory": (
        changed(lambda sent: sent.inputs[0].shape.__setitem__(0, 2**62)),
        "have 784 bytes, its shape",
    ),
    "contents for two inputs": (
        changed(lambda sent: sent.raw_input_contents.append(ONE)),
        "raw_input_contents: expected one, of 'image', got 2",
    ),
    "contents twice": (
        changed(lambda sent: sent.inputs[0].contents.uint_contents.append(1)),
        "has both contents and raw_input_contents",
    ),
    "no contents": (typed(), "has neither uint_contents nor raw_input_contents"),
    "contents of another type": (
        typed(int_contents=[1] * 784),
        "has int_contents; expected uint_contents alone",
    ),
    "contents of two types": (
        typed(uint_contents=[1] * 784, fp32_contents=[1.0] * 784),
        "has fp32_contents; expected uint_contents alone",
    ),
    "too few numbers": (
        typed(uint_contents=[1] * 783),
        "has 783 numbers, its shape [1, 1, ",
    ),
    "a number out of range": (
        typed(uint_contents=[1] * 783 + [256]),
        "the data of 'image' at index 783: expected an integer from 0 to 255, got 256",
    ),
    "an unknown output": (changed(output("other")), "there is no output 'other': there are logits"),
    "an output twice": (
        changed(lambda sent: [output("logits")(sent) for _ in range(3)]),
        "the outputs: expected each at most once, got ['logits', 'logits', 'logits']",
    ),
    "no classes": (
        changed(output("logits", classification=0)),
        "the classification of 'logits': expected a number of classes, at least 1, got 0",
    ),
    "classes as text": (
        changed(text_classification),
        "classification of the parameters object of 'logits': expected an integer, got 'two'",
    ),
    "shared memory": (changed(shared_memory), "asks for shared memory, which is not served"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_request_is_an_invalid_argument(channel: grpc.Channel, name: str) -> None:
    content, text = FAULTS[name]
    error = refused(method(channel), content)
    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert text in error.details()


def test_the_texts_are_those_of_http(grpc_server: GRPCServer, channel: grpc.Channel) -> None:
    url = f"{grpc_server.http.url}/v2/models/fashion_lenet/infer"
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 28, 28], "data": [0] * 784}
    sent = {
        "a datatype": {"inputs": [{**tensor, "datatype": "FP32"}]},
        "a shape": {"inputs": [{**tensor, "shape": [1, 1, 28, 29]}]},
        "a number out of range": {"inputs": [{**tensor, "data": [1] * 783 + [256]}]},
        "an unknown output": {"inputs": [tensor], "outputs": [{"name": "other"}]},
    }
    for name, content in sent.items():
        expected = httpx.post(url, json=content).json()["error"]
        assert refused(method(channel), FAULTS[name][0]).details() == expected
    for path, unknown in (
        ("resnet", ModelInferRequest(model_name="resnet")),
        ("fashion_lenet/versions/7", raw(model_version="7")),
    ):
        error = refused(method(channel), unknown.SerializeToString())
        assert error.code() is StatusCode.NOT_FOUND
        answer = httpx.get(f"{grpc_server.http.url}/v2/models/{path}")
        assert error.details() == answer.json()["error"]


def test_the_same_head_with_other_bytes_behind_it_is_read_anew(channel: grpc.Channel) -> None:
    infer = method(channel)
    whole = raw().SerializeToString()
    assert infer(whole) == infer(whole)
    assert refused(infer, whole + b"\0").code() is StatusCode.INVALID_ARGUMENT
    other = changed(lambda sent: sent.inputs[0].shape.__setitem__(0, 2))
    assert refused(infer, other).code() is StatusCode.INVALID_ARGUMENT
    assert infer(whole) == infer(whole)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["plain", "gzip"])
def test_a_message_over_the_limit_is_refused(
    channel: grpc.Channel, compression: grpc.Compression | None
) -> None:
    infer = method(channel)
    content = raw((MANY, 1, 28, 28)).SerializeToString()
    assert len(content) <= MAX_BODY_BYTES < len(content) + 784
    infer(content, compression=compression)
    error = refused(infer, raw((MANY + 1, 1, 28, 28)).SerializeToString(), compression=compression)
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in error.details()


def test_metadata_over_the_limit_are_refused(channel: grpc.Channel) -> None:
    content = raw().SerializeToString()
    method(channel)(content, metadata=[("note", "x" * 30_000)])
    error = refused(method(channel), content, metadata=[("note", "x" * 40_000)])
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert "metadata size exceeds" in error.details()


@pytest.mark.parametrize("name", ["Health", "v1alpha.ServerReflection"])
def test_no_message_of_other_services_is_an_internal_error(
    channel: grpc.Channel, name: str
) -> None:
    paths = {"Health": "/grpc.health.v1.Health/Watch"}
    path = paths.get(name, f"/grpc.reflection.{name}/ServerReflectionInfo")
    error = refused(list, channel.stream_stream(path)(iter([b"\xff"])))
    assert error.code() is StatusCode.INVALID_ARGUMENT


def test_a_call_without_a_message_and_one_of_no_method(channel: grpc.Channel) -> None:
    silent = channel.stream_unary(f"/{SERVICE}/ModelInfer")
    error = refused(silent, iter(()))
    assert (error.code(), error.details()[:24]) == (
        StatusCode.INVALID_ARGUMENT,
        "the call has no message,",
    )
    error = refused(channel.unary_unary("/nobody/" + "x" * 1000), b"")
    assert error.code() is StatusCode.UNIMPLEMENTED
    assert "there is no method /nobody/xxx" in error.details()
    assert len(error.details()) < 300


def test_a_call_has_its_id_its_line_and_its_count(
    grpc_server: GRPCServer, channel: grpc.Channel
) -> None:
    def counted() -> float:
        label = f'{{route="/{SERVICE}/ModelInfer",status="200"}}'
        lines = httpx.get(f"{grpc_server.http.url}/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"fashion_requests_total{label}")]
        return float(found[0].split()[-1]) if found else 0.0

    before = counted()
    content = raw().SerializeToString()
    _, call = method(channel).with_call(content, metadata=[("x-request-id", "a-call")])
    assert dict(call.trailing_metadata())["x-request-id"] == "a-call"
    line = json.loads(grpc_server.http.line('"request_id":"a-call"'))
    assert line["path"] == f"/{SERVICE}/ModelInfer"
    assert (line["status"], line["client"]) == (200, "127.0.0.1")
    assert 0 < line["inference_ms"] <= line["total_ms"]
    wait_until(lambda: counted() == before + 1, grpc_server.http)
    _, call = method(channel).with_call(content, metadata=[("x-request-id", "no id!")])
    assert len(dict(call.trailing_metadata())["x-request-id"]) == 32
    assert "service/grpc" not in grpc_server.http.log()  # no traceback


def test_work_that_a_client_no_longer_waits_for_is_not_begun(
    grpc_server: GRPCServer, channel: grpc.Channel
) -> None:
    def images() -> float:
        text = httpx.get(f"{grpc_server.http.url}/metrics").text
        (found,) = re.findall(r"^fashion_batch_images_sum\S* (.+)$", text, re.MULTILINE)
        return float(found)

    large = raw((MANY, 1, 28, 28)).SerializeToString()
    infer = method(channel)
    infer(large)
    before = images()
    running = [infer.future(large) for _ in range(8)]
    impatient = [
        infer.future(large, timeout=0.001 * n, metadata=[("x-request-id", f"late-{n}")])
        for n in range(1, 5)
    ]
    cancelled = infer.future(large, metadata=[("x-request-id", "cancelled")])
    cancelled.cancel()
    for call in impatient:
        assert call.exception().code() is StatusCode.DEADLINE_EXCEEDED
    assert cancelled.cancelled()
    for call in running:
        call.result()
    assert infer(raw().SerializeToString())
    assert images() == before + 8 * MANY + 1


def test_many_calls_on_one_connection_are_answered(grpc_server: GRPCServer) -> None:
    content = raw().SerializeToString()

    async def ask() -> list[bytes]:
        async with grpc.aio.insecure_channel(grpc_server.address) as channel:
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            health = health_pb2_grpc.HealthStub(channel)
            calls = [infer(content) for _ in range(1500)]
            await health.Check(health_pb2.HealthCheckRequest())
            return await asyncio.gather(*calls)

    assert len(set(asyncio.run(ask()))) == 1


class EndedCall:
    """The context of a call that gRPC's core has ended, as it does in the middle of a message."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    async def abort(self, *_: object) -> None:
        raise grpc.aio.InternalError("Failed to execute a batch")


def test_a_call_that_grpcs_core_has_ended_is_left_without_a_traceback() -> None:
    settings = ServiceSettings(device="cpu")
    calls = Calls({}, {}, settings, LoadLimiter(1), AccessLog("off"), None)
    call: Any = calls.service(SimpleNamespace(method="/none", invocation_metadata=()))  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):  # of which grpcio logs nothing
        asyncio.run(call.stream_unary(None, EndedCall()))
