"""Triton's and KServe's own clients: they get ONNX Runtime's results, to the last bit."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http
import tritonclient.http.aio
from numpy.typing import NDArray
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.service.kserve_clients import ask_kserve, needs_kserve
from tests.service.models import LABELS
from tests.service.same_bits import NAMES, expected_outputs, same_bits
from tests.serving import Server

MODEL = "fashion_lenet"

BATCHES = pytest.mark.parametrize("count", [1, 2, 7, 64, 1000, 1024])
SENT = pytest.mark.parametrize("binary_in", [False, True], ids=["json", "binary"])
WANTED = pytest.mark.parametrize(
    "binary_out", [None, (False, False), (True, True), (True, False)], ids=str
)


@pytest.fixture
def triton(server: Server) -> Iterator[tritonclient.http.InferenceServerClient]:
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def tensor(images: NDArray[np.uint8], *, binary: bool = True) -> InferInput:
    entry = InferInput("image", list(images.shape), "UINT8")
    entry.set_data_from_numpy(images, binary_data=binary)
    return entry


def wanted(binary_out: tuple[bool, bool] | None) -> list[InferRequestedOutput] | None:
    """Both outputs, the second first; None for the server's default."""
    if binary_out is None:
        return None
    pairs = list(zip(NAMES, binary_out, strict=True))[::-1]
    return [InferRequestedOutput(name, binary_data=binary) for name, binary in pairs]


def test_triton_finds_the_server_and_the_model(
    triton: tritonclient.http.InferenceServerClient,
) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(MODEL)
    assert triton.is_model_ready(MODEL, "1.1.0")
    assert not triton.is_model_ready(MODEL, "2")
    assert not triton.is_model_ready("resnet")
    assert triton.get_server_metadata()["name"] == "fashion-lenet-bn"
    assert triton.get_model_metadata(MODEL) == triton.get_model_metadata(MODEL, "1.1.0")
    with pytest.raises(InferenceServerException, match="there is no model 'resnet'"):
        triton.get_model_metadata("resnet")
    with pytest.raises(
        InferenceServerException, match="there is no route /v2/models/fashion_lenet/conf"
    ):
        triton.get_model_config(MODEL)


@BATCHES
@SENT
@WANTED
def test_triton_gets_the_same_bits(
    triton: tritonclient.http.InferenceServerClient,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    count: int,
    binary_in: bool,
    binary_out: tuple[bool, bool] | None,
) -> None:
    batch = images[:count, None]
    answer = triton.infer(
        MODEL, [tensor(batch, binary=binary_in)], outputs=wanted(binary_out), request_id="7"
    )
    assert answer.get_response()["id"] == "7"
    same_bits(answer, batch, same_session)


@SENT
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_triton_may_compress(
    triton: tritonclient.http.InferenceServerClient,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    coding: str,
    binary_in: bool,
) -> None:
    batch = images[:7, None]
    answer = triton.infer(
        MODEL,
        [tensor(batch, binary=binary_in)],
        model_version="1.1.0",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    same_bits(answer, batch, same_session)


@pytest.mark.parametrize("binary_out", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("count", [1, 3, 10, 12])
def test_triton_gets_classes(
    triton: tritonclient.http.InferenceServerClient,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    binary_out: bool,
    count: int,
) -> None:
    batch = images[:7, None]
    output = InferRequestedOutput("probabilities", binary_data=binary_out, class_count=count)
    found = triton.infer(MODEL, [tensor(batch)], outputs=[output]).as_numpy("probabilities")
    (probabilities,) = same_session.run(["probabilities"], {"image": batch})
    assert found.shape == (7, min(count, 10))
    for row, values in zip(found, probabilities, strict=True):
        texts = [text.decode() if binary_out else text for text in row]
        best = np.argsort(-values, kind="stable")[:count]
        assert texts == [f"{values[n]:.6f}:{n}:{LABELS[n]}" for n in best]


def test_triton_says_what_was_wrong(
    triton: tritonclient.http.InferenceServerClient, images: NDArray[np.uint8]
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [tensor(images[:1])])
    assert caught.value.status() == "400"
    assert "the shape of 'image': expected [N, 1, 28, 28], got [1, 28, 28]" in str(caught.value)


@SENT
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice
def test_triton_asks_many_at_once_with_asyncio(
    server: Server,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    binary_in: bool,
) -> None:
    counts = [1, 2, 7, 64, 1000, 1024] * 2

    async def ask() -> list[Any]:
        url = f"127.0.0.1:{server.port}"
        async with tritonclient.http.aio.InferenceServerClient(url) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready(MODEL)
            assert (await client.get_model_metadata(MODEL))["name"] == MODEL
            requests = (
                client.infer(MODEL, [tensor(images[:count, None], binary=binary_in)])
                for count in counts
            )
            return await asyncio.gather(*requests)

    for count, answer in zip(counts, asyncio.run(ask()), strict=True):
        same_bits(answer, images[:count, None], same_session)


@needs_kserve
def test_kserve_gets_the_same_bits(
    server: Server,
    images: NDArray[np.uint8],
    same_session: ort.InferenceSession,
    tmp_path: Path,
) -> None:
    batch = images[:64, None]
    found = ask_kserve("kserve_client.py", server.url, batch, tmp_path)
    ready = {name: found[name] for name in ("live", "ready", "model_ready", "other_model_ready")}
    assert ready == {"live": True, "ready": True, "model_ready": True, "other_model_ready": False}
    assert "the shape of 'image': expected [N, 1, 28, 28], got [1, 28, 28]" in found["refusal"]
    for name, expected in expected_outputs(same_session, batch).items():
        for way in ("json", "binary", "mixed"):
            assert bytes.fromhex(found[way][name]) == expected.tobytes()
