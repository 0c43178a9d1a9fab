"""Several models over gRPC: Triton's client lists, loads and unloads them in all workers."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.service.grpc.conftest import address
from tests.service.many_models import COLOUR
from tests.serving import Server

ENOUGH = 12  # connections, of which each worker gets some


@pytest.fixture
def triton(many_models: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(address(many_models)) as client:
        yield client


def everywhere(server: Server, name: str) -> set[bool]:
    """Whether a model is ready, of all workers."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    found = set()
    for _ in range(ENOUGH):
        with InferenceServerClient(address(server), channel_args=options) as client:
            found.add(client.is_model_ready(name))
    return found


def test_the_index_lists_all_models(triton: InferenceServerClient) -> None:
    index = triton.get_model_repository_index()
    assert [(entry.name, entry.version, entry.state) for entry in index.models] == [
        ("broken", "", "UNAVAILABLE"),
        ("colour", "1.0.0", "READY"),
        ("first", "1.0.0", "READY"),
        ("second", "2", "READY"),
        ("second", "10", "READY"),
    ]
    assert "golden samples come out wrong" in index.models[0].reason
    assert not triton.is_model_ready("broken")
    assert list(triton.get_model_metadata("second").versions) == ["2", "10"]
    assert list(triton.get_model_metadata("second", "2").versions) == ["2"]


def test_each_model_takes_images_of_its_own_shape(
    triton: InferenceServerClient, images: NDArray[np.uint8]
) -> None:
    for name, batch in (("first", images[:3, None]), ("colour", COLOUR.images(3))):
        tensor = InferInput("image", list(batch.shape), "UINT8")
        tensor.set_data_from_numpy(batch)
        answer = triton.infer(name, [tensor])
        assert answer.get_response().model_name == name
        assert answer.as_numpy("logits").shape == (3, 3 if name == "colour" else 10)


def test_all_workers_unload_and_load(triton: InferenceServerClient, many_models: Server) -> None:
    triton.unload_model("second")
    assert everywhere(many_models, "second") == {False}
    triton.load_model("second")
    assert everywhere(many_models, "second") == {True}
    with pytest.raises(InferenceServerException, match=r"takes no parameters, got \['config'\]"):
        triton.load_model("second", config="{}")
    with pytest.raises(InferenceServerException, match="there is no model 'third'") as caught:
        triton.load_model("third")
    assert caught.value.status() == "StatusCode.NOT_FOUND"
