"""A server that speaks gRPC beside HTTP, for all tests that do not change it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.serving import Server, free_port, serving

SERVICE = "inference.GRPCInferenceService"
MAX_BODY_BYTES = 2 * 2**20


@dataclass(frozen=True)
class GRPCServer:
    """A server, and its port for gRPC."""

    http: Server
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def serving_grpc(folder: Path, **settings: str) -> Iterator[GRPCServer]:
    """Run a server on the CPU until the block ends."""
    port = free_port()
    with serving(folder, FASHION_DEVICE="cpu", FASHION_GRPC_PORT=str(port), **settings) as server:
        yield GRPCServer(server, port)


@pytest.fixture(scope="package")
def grpc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GRPCServer]:
    settings = {
        "FASHION_ACCESS_LOG": "json",
        "FASHION_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    }
    with serving_grpc(tmp_path_factory.mktemp("grpc"), **settings) as server:
        yield server


@pytest.fixture
def channel(grpc_server: GRPCServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_server.address) as channel:
        yield channel


def address(server: Server) -> str:
    """Where a server says that it serves gRPC."""
    return server.line("Serving gRPC at ").rpartition(" ")[2]


def method(channel: grpc.Channel, name: str = "ModelInfer") -> Any:
    """A method of the service that takes and returns bytes."""
    return channel.unary_unary(f"/{SERVICE}/{name}")


def request(shape: list[int], **fields: Any) -> service_pb2.ModelInferRequest:
    """A request of Triton's messages for images of this shape."""
    found = service_pb2.ModelInferRequest(model_name="fashion_lenet", **fields)
    found.inputs.add(name="image", datatype="UINT8", shape=shape)
    return found


def refused(call: Any, *arguments: Any, **options: Any) -> grpc.RpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value
