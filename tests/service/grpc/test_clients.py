"""Triton's, KServe's and gRPC's own clients: what they get is what HTTP gives, to the last bit."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput, service_pb2
from tritonclient.utils import InferenceServerException

from tests.pages import blocks, run
from tests.service.grpc.conftest import SERVICE, GRPCServer, method, request
from tests.service.kserve_clients import ask_kserve, needs_kserve
from tests.service.same_bits import NAMES, expected_outputs, same_bits
from tests.serving import ROOT

MODEL = "fashion_lenet"


@pytest.fixture
def triton(grpc_server: GRPCServer) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(grpc_server.address) as client:
        yield client


def tensor(images: NDArray[np.uint8]) -> InferInput:
    entry = InferInput("image", list(images.shape), "UINT8")
    entry.set_data_from_numpy(images)
    return entry


def test_triton_finds_the_server_and_the_model(
    triton: tritonclient.grpc.InferenceServerClient, grpc_server: GRPCServer
) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(MODEL)
    assert triton.is_model_ready(MODEL, "1.1.0")
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{grpc_server.http.port}")
    assert triton.get_server_metadata(as_json=True) == http.get_server_metadata()
    found = triton.get_model_metadata(MODEL, "1.1.0", as_json=True)
    for described in (*found["inputs"], *found["outputs"]):
        described["shape"] = [int(axis) for axis in described["shape"]]  # JSON has int64 as text
    assert found == http.get_model_metadata(MODEL)
    http.close()


@pytest.mark.parametrize("count", [1, 2, 7, 64, 65, 1000, 1024])
@pytest.mark.parametrize("wanted", [(), NAMES[::-1], NAMES[1:]], ids=str)
def test_triton_gets_the_same_bits(
    triton: tritonclient.grpc.InferenceServerClient,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    count: int,
    wanted: tuple[str, ...],
) -> None:
    outputs = [InferRequestedOutput(name) for name in wanted] or None
    for first in (0, 1024):  # the same head before other images is another request
        batch = images[first : first + count, None]
        answer = triton.infer(MODEL, [tensor(batch)], outputs=outputs, request_id="7")
        assert answer.get_response().id == "7"
        assert [output.name for output in answer.get_response().outputs] == list(wanted or NAMES)
        answer = triton.infer(MODEL, [tensor(batch)], outputs=outputs)
        expected = expected_outputs(same_session, batch)
        for name in wanted or NAMES:
            assert answer.as_numpy(name).tobytes() == expected[name].tobytes()


@pytest.mark.parametrize("count", [1, 64, 1024])
def test_http_and_typed_contents_give_the_same_bits(
    grpc_server: GRPCServer, channel: grpc.Channel, images: NDArray[np.uint8], count: int
) -> None:
    batch = images[:count, None]
    answer = httpx.post(
        f"{grpc_server.http.url}/v2/models/{MODEL}/infer",
        content=batch.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
    )
    head = int(answer.headers["Inference-Header-Content-Length"])
    sent = request(list(batch.shape), raw_input_contents=[batch.tobytes()])
    raw = service_pb2.ModelInferResponse.FromString(method(channel)(sent.SerializeToString()))
    assert b"".join(raw.raw_output_contents) == answer.content[head:]
    assert not any(output.HasField("contents") for output in raw.outputs)
    sent = request(list(batch.shape))
    sent.inputs[0].contents.uint_contents.extend(batch.ravel().tolist())
    typed = service_pb2.ModelInferResponse.FromString(method(channel)(sent.SerializeToString()))
    values = [np.array(output.contents.fp32_contents, np.float32) for output in typed.outputs]
    assert b"".join(value.tobytes() for value in values) == answer.content[head:]
    assert list(typed.raw_output_contents) == []


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_triton_may_compress(
    triton: tritonclient.grpc.InferenceServerClient,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    compression: str,
) -> None:
    batch = images[:64, None]
    answer = triton.infer(MODEL, [tensor(batch)], compression_algorithm=compression)
    same_bits(answer, batch, same_session)


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
def test_classes_are_those_of_http(
    grpc_server: GRPCServer, channel: grpc.Channel, images: NDArray[np.uint8], raw: bool
) -> None:
    batch = images[:7, None]
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{grpc_server.http.port}") as http:
        entry = tritonclient.http.InferInput("image", list(batch.shape), "UINT8")
        entry.set_data_from_numpy(batch)
        wanted = tritonclient.http.InferRequestedOutput("probabilities", class_count=3)
        expected = http.infer(MODEL, [entry], outputs=[wanted]).as_numpy("probabilities")
    sent = request(list(batch.shape))
    if raw:
        sent.raw_input_contents.append(batch.tobytes())
    else:
        sent.inputs[0].contents.uint_contents.extend(batch.ravel().tolist())
    sent.outputs.add(name="probabilities").parameters["classification"].int64_param = 3
    answer = service_pb2.ModelInferResponse.FromString(method(channel)(sent.SerializeToString()))
    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [7, 3])
    if raw:
        found = tritonclient.grpc.InferResult(answer).as_numpy("probabilities").ravel()
    else:
        found = list(output.contents.bytes_contents)
    assert [text.decode() for text in found] == [
        text.decode() if isinstance(text, bytes) else text for text in expected.ravel()
    ]


def test_triton_asks_many_at_once_with_asyncio(
    grpc_server: GRPCServer, images: NDArray[np.uint8], same_session: ort.InferenceSession
) -> None:
    counts = [1, 2, 7, 64, 1000, 1024] * 2

    async def ask() -> list[Any]:
        async with tritonclient.grpc.aio.InferenceServerClient(grpc_server.address) as client:
            assert await client.is_server_ready()
            requests = (client.infer(MODEL, [tensor(images[:n, None])]) for n in counts)
            return await asyncio.gather(*requests)

    for count, answer in zip(counts, asyncio.run(ask()), strict=True):
        same_bits(answer, images[:count, None], same_session)


def test_streams_are_refused_with_a_reason(
    triton: tritonclient.grpc.InferenceServerClient, images: NDArray[np.uint8]
) -> None:
    answers: list[Any] = []
    triton.start_stream(lambda result, error: answers.append(error))
    triton.async_stream_infer(MODEL, [tensor(images[:1, None])])
    triton.stop_stream()
    (error,) = answers
    assert error.status() == "StatusCode.UNIMPLEMENTED"
    assert "call ModelInfer, any number at a time on one channel" in error.message()


def test_triton_says_what_was_wrong(
    triton: tritonclient.grpc.InferenceServerClient, images: NDArray[np.uint8]
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [tensor(images[:1])])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "the shape of 'image': expected [N, 1, 28, 28], got [1, 28, 28]" in str(caught.value)
    for asked in (triton.get_model_metadata, triton.is_model_ready):
        with pytest.raises(InferenceServerException, match="there is no model 'resnet'"):
            asked("resnet")
    with pytest.raises(InferenceServerException, match="there is no method /"):
        triton.get_model_config(MODEL)


def test_the_index_lists_the_models_and_control_is_refused(
    triton: tritonclient.grpc.InferenceServerClient,
) -> None:
    index = triton.get_model_repository_index(as_json=True)
    assert {"name": MODEL, "version": "1.1.0", "state": "READY"} in index["models"]
    for change in (triton.load_model, triton.unload_model):
        with pytest.raises(InferenceServerException, match="FASHION_MODEL_CONTROL") as caught:
            change(MODEL)
        assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


def test_health_is_that_of_the_server(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse(status="SERVING")
    for name in ("", SERVICE):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)) == serving
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch) == serving
    watch.cancel()
    with pytest.raises(grpc.RpcError, match="there is no service 'other'"):
        health.Check(health_pb2.HealthCheckRequest(service="other"))
    unknown = next(health.Watch(health_pb2.HealthCheckRequest(service="other")))
    assert unknown == health_pb2.HealthCheckResponse(status="SERVICE_UNKNOWN")


def test_reflection_describes_all_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    names = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", SERVICE}
    assert set(database.get_services()) == names
    for name in names:
        assert database.FindFileContainingSymbol(name).service[0].name in name
    (service,) = database.FindFileContainingSymbol(SERVICE).service
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for found in service.method:
        expected = theirs[found.name]
        assert (found.input_type, found.output_type) == (
            f".{expected.input_type.full_name}",
            f".{expected.output_type.full_name}",
        )


def test_the_pages_python_is_answered(grpc_server: GRPCServer) -> None:
    page = (ROOT / "docs" / "open_inference.md").read_text(encoding="utf-8")
    _, code = blocks(page, "python")
    code = code.replace("localhost:8001", grpc_server.address)
    assert run([sys.executable, "-c", code], ROOT, {}).startswith("[9 2 1 1 6 1 4 6")


@needs_kserve
def test_kserve_gets_the_same_bits(
    grpc_server: GRPCServer,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    tmp_path: Path,
) -> None:
    batch = images[:64, None]
    found = ask_kserve("kserve_grpc_client.py", grpc_server.address, batch, tmp_path)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    assert "the shape of 'image': expected [N, 1, 28, 28], got [1, 28, 28]" in found["refusal"]
    for name, expected in expected_outputs(same_session, batch).items():
        for way in ("typed", "raw"):
            assert bytes.fromhex(found[way][name]) == expected.tobytes()
