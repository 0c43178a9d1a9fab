"""`/metrics` on a port of its own, served by the parent of the workers, whoever of them dies."""

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector


def serve_metrics(port: int, folder: str, address: str = "0.0.0.0") -> None:  # noqa: S104
    """Serve the sum of what all workers count, in a thread, until the process ends.

    Args:
        port: to listen on.
        folder: of the workers' files, as `PROMETHEUS_MULTIPROC_DIR` has it.
        address: of the interface to listen on; all, if not given.

    Raises:
        OSError: something else listens there, or the port is not for everyone.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    start_http_server(port, address, registry)
