"""gRPC's server reflection: which services there are, and their messages.

Source: `doc/server-reflection.md` of grpc/grpc.
"""

from collections.abc import AsyncIterator, Mapping

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from service.grpc.messages import read_message
from service.grpc.methods import SERVICE, Stream
from service.grpc.open_inference_pb2 import DESCRIPTOR

# grpcio has the first version; the second has the same messages, and newer clients ask for it.
NAMES = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")


def _servicer() -> reflection.aio.ReflectionServicer:
    names = [SERVICE]
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        DESCRIPTOR.pool.AddSerializedFile(file.serialized_pb)
        names += [service.full_name for service in file.services_by_name.values()]
    return reflection.aio.ReflectionServicer(names, pool=DESCRIPTOR.pool)


SERVICER = _servicer()


def streams() -> Mapping[str, Stream]:
    """Return the methods by their paths."""
    return {f"/{name}/ServerReflectionInfo": Stream(_answers) for name in NAMES}


async def _answers(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    requests = _requests(messages)
    async for response in SERVICER.ServerReflectionInfo(requests, None):
        yield response.SerializeToString()


async def _requests(messages: AsyncIterator[bytes]) -> AsyncIterator[ServerReflectionRequest]:
    async for content in messages:
        yield read_message(ServerReflectionRequest, content)
