"""The gRPC server of a worker: its limits, its port and how it stops."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from service.grpc import reflection
from service.grpc.calls import Calls, Record
from service.grpc.health import Health
from service.grpc.listening import Listening
from service.grpc.methods import OpenInference
from service.inference.data_plane import DataPlane
from service.inference.load_limiter import LoadLimiter
from service.settings import ServiceSettings
from service.telemetry.access_log import AccessLog

logger = logging.getLogger("bentoml.fashion_lenet")

METADATA_BYTES = 32 * 1024  # of a call, as of a request's head over HTTP
STREAMS = 2048  # calls at a time on one connection; gRPC's clients have more of them wait
PENDING = 16 * 1024  # calls that wait for the event loop, before gRPC's core cancels further ones
PING_SECONDS = 60  # without data, after which a client is asked whether it is still there
PONG_SECONDS = 20  # for its answer, before the connection is closed
CLIENTS_PING_SECONDS = 10  # between the pings of a client; those of one that sends more are refused
WATCH_SECONDS = 0.2  # between looks at whether grpcio has stopped; its end may take 20 s more
REFUSING_SECONDS = 0.3  # answer further calls with UNAVAILABLE before the port is closed


class GRPCServer:
    """Serves the Open Inference Protocol on an event loop."""

    def __init__(
        self,
        settings: ServiceSettings,
        data_plane: DataPlane,
        limiter: LoadLimiter,
        log: AccessLog,
        record: Record | None,
    ) -> None:
        """Serve the models of a data plane; `Calls` describes the arguments."""
        service = OpenInference(data_plane)
        health = Health(lambda: service.is_ready)
        self._grace = settings.timeout_seconds
        self._calls = Calls(
            {**service.methods(), **health.methods()},
            {**health.streams(), **reflection.streams()},
            settings,
            limiter,
            log,
            record,
        )
        self._stopping: asyncio.Task[None] | None = None
        self._options = _options(settings)
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_about_metadata)
        self._watching: asyncio.Task[None] | None = None

    async def start(self, listening: Listening) -> None:
        """Listen, and answer calls.

        Raises:
            RuntimeError: the port cannot be used.
        """
        await self._listen(listening)
        self._watching = asyncio.get_running_loop().create_task(self._start_again(listening))

    async def _listen(self, listening: Listening) -> None:
        self._server = grpc.aio.server(handlers=[self._calls], options=self._options)
        if listening.certificate is None:
            self._server.add_insecure_port(listening.address)
        else:
            self._server.add_secure_port(listening.address, _credentials(listening))
        await self._server.start()

    async def _start_again(self, listening: Listening) -> None:
        """Listen again when grpcio has stopped, as it does at a path that is not UTF-8."""
        while not self._calls.is_stopping:
            try:
                await self._server.wait_for_termination(WATCH_SECONDS)
            except Exception as error:
                logger.error("gRPC ended, and starts again: %s", error)
                await self._listen(listening)

    def begin_stop(self) -> None:
        """Refuse further calls, and finish those in flight."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def stop(self) -> None:
        """Return once all calls are answered and the port is closed."""
        self.begin_stop()
        await self._stopping  # type: ignore[misc]

    async def _stop(self) -> None:
        self._calls.is_stopping = True
        await self._calls.end_streams()
        # gRPC's core answers a call that arrives as it stops with CANCELLED, which clients take for
        # their own doing. So most of them are sent elsewhere before.
        await asyncio.sleep(REFUSING_SECONDS)
        await self._server.stop(self._grace)


def _is_not_about_metadata(record: logging.LogRecord) -> bool:
    """Drop grpcio's traceback for metadata that are not UTF-8, which any client may send."""
    return not str(record.msg).startswith("Invalid encoding on")


def _options(settings: ServiceSettings) -> Sequence[tuple[str, Any]]:
    return (
        ("grpc.so_reuseport", 1),  # each worker listens on the same port
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.server.max_pending_requests", PENDING),
        ("grpc.server.max_pending_requests_hard_limit", PENDING),
        ("grpc.max_connection_idle_ms", round(settings.keep_alive_seconds * 1000)),
        ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", PONG_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", CLIENTS_PING_SECONDS * 1000),
    )


def _credentials(listening: Listening) -> grpc.ServerCredentials:
    certificate, key, authorities = (
        Path(path).read_bytes() if path else None
        for path in (listening.certificate, listening.key, listening.client_authorities)
    )
    return grpc.ssl_server_credentials(
        [(key, certificate)], authorities, listening.requires_client_certificate
    )
