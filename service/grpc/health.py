"""gRPC's health checking protocol, for load balancers and Kubernetes.

Source: `doc/health-checking.md` of grpc/grpc.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from grpc_health.v1.health import SERVICE_NAME
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.errors import NotFound
from service.grpc.messages import read_message
from service.grpc.methods import SERVICE, Method, Stream
from service.telemetry.request_timing import RequestTiming

WATCH_SECONDS = 0.2  # between two looks at the server for `Watch`


class Health:
    """The state of the server: of the whole, and of its one service, which has the same."""

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        """Report what a function says."""
        self._is_ready = is_ready

    def methods(self) -> Mapping[str, Method]:
        """Return the methods with one answer, by their paths."""
        return {f"/{SERVICE_NAME}/Check": Method(self.check, needs_key=False, is_probe=True)}

    def streams(self) -> Mapping[str, Stream]:
        """Return the methods with several answers, by their paths."""
        return {f"/{SERVICE_NAME}/Watch": Stream(self.watch, needs_key=False)}

    async def check(self, content: bytes, timing: RequestTiming) -> bytes:
        """Serve Check: SERVING or NOT_SERVING.

        Raises:
            NotFound: the service is unknown.
        """
        name = read_message(HealthCheckRequest, content).service
        if name not in ("", SERVICE):
            raise NotFound(f"there is no service {name[:60]!r}: there is {SERVICE!r}")
        return _response(self._state())

    async def watch(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Serve Watch: the state now, and each time that it changes."""
        async for content in messages:
            name = read_message(HealthCheckRequest, content).service
            known, last = name in ("", SERVICE), None
            while True:
                state = self._state() if known else HealthCheckResponse.SERVICE_UNKNOWN
                if state != last:
                    last = state
                    yield _response(state)
                await asyncio.sleep(WATCH_SECONDS)

    def _state(self) -> int:
        ready = self._is_ready()
        state: int = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        return state


def _response(state: int) -> bytes:
    content: bytes = HealthCheckResponse(status=state).SerializeToString()
    return content
