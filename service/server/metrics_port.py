"""`/metrics` on a separate port, served by the parent process, even if workers die.

Its connections have the same limits as a worker's, so the parent always has descriptors left to
start workers.
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
    """Serve the metrics of all workers from a thread, until the process ends.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        folder: the folder of the workers' files, as in `PROMETHEUS_MULTIPROC_DIR`.

    Raises:
        OSError: the port is in use, or this user may not use it.
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
