"""The methods of `inference.GRPCInferenceService`, from a message's bytes to those of the answer.

Source: `specification/protocol/inference_grpc.md` of kserve/open-inference-protocol.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from service.errors import InvalidInput, NotReady, Unimplemented
from service.grpc import open_inference_pb2 as pb
from service.grpc.infer_request import RequestReader
from service.grpc.infer_response import write_response
from service.grpc.messages import read_message
from service.inference.data_plane import DataPlane
from service.oip import inference, models
from service.oip.protocol import EXTENSIONS
from service.telemetry.request_timing import RequestTiming
from service.version import SERVER, SERVER_VERSION

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

Answer = Callable[[bytes, RequestTiming], Awaitable[bytes]]


@dataclass(frozen=True)
class Method:
    """A method with one message and one answer.

    Attributes:
        answer: returns the answer to a message.
        limited: whether its calls count as load, and may be rejected.
        needs_key: whether a call requires an API key.
        is_probe: whether calls are logged only if they fail.
    """

    answer: Answer
    limited: bool = False
    needs_key: bool = True
    is_probe: bool = False


@dataclass(frozen=True)
class Stream:
    """A method with several messages or answers, whose calls are neither logged nor load.

    Attributes:
        answers: yields the answers to messages.
        needs_key: whether a call requires an API key.
    """

    answers: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]
    needs_key: bool = True


class OpenInference:
    """The methods, for a worker's models."""

    def __init__(self, data_plane: DataPlane) -> None:
        """Answer with the models of a data plane."""
        self._data_plane = data_plane
        self._reader = RequestReader()

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by their paths."""
        methods = {
            "ServerLive": Method(self.server_live, needs_key=False, is_probe=True),
            "ServerReady": Method(self.server_ready, needs_key=False, is_probe=True),
            "ModelReady": Method(self.model_ready, needs_key=False, is_probe=True),
            "ServerMetadata": Method(self.server_metadata),
            "ModelMetadata": Method(self.model_metadata),
            "ModelInfer": Method(self.model_infer, limited=True),
            "ModelStreamInfer": Method(self.model_stream_infer),
            "RepositoryIndex": Method(self.repository_index),
            "RepositoryModelLoad": Method(self.repository_model_load, limited=True),
            "RepositoryModelUnload": Method(self.repository_model_unload, limited=True),
        }
        return {f"/{SERVICE}/{name}": method for name, method in methods.items()}

    async def server_live(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ServerLive: the process runs."""
        read_message(pb.ServerLiveRequest, content)
        return _written(pb.ServerLiveResponse(live=True))

    async def server_ready(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ServerReady: the model is loaded and has passed its check."""
        read_message(pb.ServerReadyRequest, content)
        return _written(pb.ServerReadyResponse(ready=self.is_ready))

    @property
    def is_ready(self) -> bool:
        """Whether the server is ready, and not about to stop."""
        try:
            _ = self._data_plane.ready_model
        except NotReady:
            return False
        return True

    async def model_ready(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ModelReady; another name or version is an error, as over HTTP."""
        request = read_message(pb.ModelReadyRequest, content)
        try:
            self._data_plane.check_running()
            self._data_plane.named(request.name, request.version or None)
        except NotReady:
            return _written(pb.ModelReadyResponse(ready=False))
        return _written(pb.ModelReadyResponse(ready=True))

    async def server_metadata(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ServerMetadata: the server's name, version and extensions."""
        read_message(pb.ServerMetadataRequest, content)
        return _written(
            pb.ServerMetadataResponse(name=SERVER, version=SERVER_VERSION, extensions=EXTENSIONS)
        )

    async def model_metadata(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ModelMetadata: the model's inputs and outputs."""
        request = read_message(pb.ModelMetadataRequest, content)
        described = models.model_metadata(self._data_plane, request.name, request.version or None)
        return _written(pb.ModelMetadataResponse(**described))

    async def model_infer(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve ModelInfer."""
        with timing.decoding():
            name, begun = self._reader.begin(content)
        with self._data_plane.named(*name) as served:
            with timing.decoding():
                image = served.model.signature.image.shape
                parsed = await self._reader.finish(content, begun, image)
            return await inference.run(served, parsed, timing, write_response)

    async def model_stream_infer(self, content: bytes, timing: RequestTiming) -> bytes:
        """Refuse ModelStreamInfer."""
        raise Unimplemented(
            "ModelStreamInfer is not served, because each request has one answer: "
            "call ModelInfer, any number at a time on one channel"
        )

    async def repository_index(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve RepositoryIndex: all models, or those that are ready."""
        request = read_message(pb.RepositoryIndexRequest, content)
        _check_repository(request.repository_name)
        entries = models.repository_index(self._data_plane, request.ready)
        return _written(pb.RepositoryIndexResponse(models=entries))

    async def repository_model_load(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve RepositoryModelLoad."""
        request = read_message(pb.RepositoryModelLoadRequest, content)
        _check_repository(request.repository_name)
        self._data_plane.check_control()
        models.check_load_parameters(request.parameters)
        await self._data_plane.load(request.model_name)
        return _written(pb.RepositoryModelLoadResponse())

    async def repository_model_unload(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve RepositoryModelUnload."""
        request = read_message(pb.RepositoryModelUnloadRequest, content)
        _check_repository(request.repository_name)
        await self._data_plane.unload(request.model_name)
        return _written(pb.RepositoryModelUnloadResponse())


def _check_repository(name: str) -> None:
    """Raise an error if a request names a repository: there is one, without a name."""
    if name:
        raise InvalidInput(
            f"repository_name: expected none, because there is one, got {name[:60]!r}"
        )


def _written(message: Message) -> bytes:
    content: bytes = message.SerializeToString()
    return content
