"""A collector of traces for tests: OTLP over HTTP, as its specification has it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

SECONDS = 600  # a last resort


@dataclass(frozen=True)
class Span:
    """One span, as it came."""

    sent: Sent
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        return self.sent.name

    @property
    def trace_id(self) -> str:
        return self.sent.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.sent.span_id.hex()

    @property
    def parent_id(self) -> str:
        return self.sent.parent_span_id.hex()

    @property
    def status(self) -> int:
        return int(self.sent.status.code)


class Collector:
    """What has been received."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[Span] = []
        self._came = threading.Condition()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._came:
            for group in request.resource_spans:
                resource = _values(group.resource.attributes)
                self._spans += [
                    Span(sent, _values(sent.attributes), resource)
                    for scope in group.scope_spans
                    for sent in scope.spans
                ]
            self._came.notify_all()

    def all(self) -> list[Span]:
        with self._came:
            return list(self._spans)

    def request(self, request_id: str) -> tuple[Span, list[Span]]:
        """Wait for a request's span, and return it with its children in order of their start."""

        def found() -> list[Span]:
            return [s for s in self._spans if s.attributes.get("request_id") == request_id]

        with self._came:
            assert self._came.wait_for(found, SECONDS), "its span did not come"
            (span,) = found()
        # A request's spans end in this order: its parts, then itself.
        children = [s for s in self.all() if s.parent_id == span.span_id]
        return span, sorted(children, key=lambda s: int(s.sent.start_time_unix_nano))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receive what is sent until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            good = self.path == "/v1/traces"
            good &= self.headers["Content-Type"] == "application/x-protobuf"
            if good:
                collector.take(body)
            self.send_response(200 if good else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *message: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _values(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value"))
