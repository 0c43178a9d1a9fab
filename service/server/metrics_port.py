"""`/metrics` on a port of its own, served by the parent of the workers, whoever of them dies.

Its connections have the limits of a worker's: whatever comes there, the parent keeps descriptors
with which to start workers.
"""

import socket
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn import Config, Server

from service.server.http_protocol import LimitedHttpProtocol


def serve_metrics(host: str, port: int, folder: str) -> None:
    """Serve the sum of what all workers count, in a thread, until the process ends.

    Args:
        host: the address to listen on.
        port: to listen on.
        folder: of the workers' files, as `PROMETHEUS_MULTIPROC_DIR` has it.

    Raises:
        OSError: something else listens there, or the port is not for everyone.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[Route("/metrics", metrics)])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # as for the service itself
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    config = Config(app, http=LimitedHttpProtocol, ws="none", lifespan="off", log_config=None)
    run = Server(config).run
    Thread(target=run, args=([listener],), name="metrics", daemon=True).start()
