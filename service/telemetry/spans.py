"""OpenTelemetry spans made of the timing of each request, for requests of any transport.

Imported only if `FASHION_TRACING` is on: importing the exporter takes time and memory.
OpenTelemetry's own variables set the destination, the sampling and the service name.

Source of the headers that link a request to its caller's trace: W3C Trace Context.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.telemetry.request_timing import RequestTiming
from service.telemetry.tracing import rate_limit_opentelemetry_log, tracer_provider
from service.version import SERVER, SERVER_VERSION

CONTEXT = (b"traceparent", b"tracestate")

SHUTDOWN_SECONDS = 3.0  # to send the last spans if the collector is slow or unreachable


class SpanRecorder:
    """Creates a span for each request, with a child span for each of its parts."""

    def __init__(self) -> None:
        """Start to send spans.

        Raises:
            TracingError: an OpenTelemetry variable is invalid.
        """
        self._provider = tracer_provider()
        self._tracer = self._provider.get_tracer(SERVER, SERVER_VERSION)
        self._propagator = TraceContextTextMapPropagator()
        rate_limit_opentelemetry_log()

    def record(
        self,
        name: str,
        attributes: Mapping[str, Any],
        headers: Iterable[tuple[bytes, bytes]],
        timing: RequestTiming,
        error: Exception | str | None,
    ) -> str | None:
        """Create the spans of a request that ended.

        Args:
            name: the span's name.
            attributes: its attributes; those that are None are left out.
            headers: the request's headers or metadata, which may name its caller's trace.
            timing: the times of its parts.
            error: an error of the server, raised or named; a client's error is none.

        Returns:
            The id of its trace, for the log.
        """
        clock = _Clock()
        span = self._tracer.start_span(
            name,
            self._propagator.extract(_carrier(headers)),
            SpanKind.SERVER,
            {key: value for key, value in attributes.items() if value is not None},
            start_time=clock.at(timing.start),
        )
        if span.is_recording():
            _note_error(span, error)
            self._record_parts(span, timing, clock)
        span.end(clock.now)
        context = span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else None

    def close(self) -> None:
        """Send the last spans."""
        # A daemon, so that an unresponsive collector does not keep the process alive.
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(SHUTDOWN_SECONDS)

    def _record_parts(self, parent: Span, timing: RequestTiming, clock: "_Clock") -> None:
        context = set_span_in_context(parent)
        for name, start, end in timing.parts:
            span = self._tracer.start_span(name, context, start_time=clock.at(start))
            if name == "inference" and timing.runs:
                span.set_attributes(_inference(timing, start))
            span.end(clock.at(end))


class _Clock:
    """Convert `time.perf_counter` to nanoseconds since 1970."""

    def __init__(self) -> None:
        self.now = time.time_ns()
        self._counter = time.perf_counter()

    def at(self, counter: float) -> int:
        return self.now - int((self._counter - counter) * 1e9)


def _carrier(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    carrier: dict[str, list[str]] = {}
    for name, value in headers:
        if name in CONTEXT:
            carrier.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return carrier


def _inference(timing: RequestTiming, start: float) -> dict[str, Any]:
    first = timing.runs[0][0]
    return {
        "model.version": timing.model_version.decode(),
        "batch_size": max(images for _, images in timing.runs),
        "queue_ms": round((first - start) * 1e3, 3),
    }


def _note_error(span: Span, error: Exception | str | None) -> None:
    """Mark a server's error on its span."""
    if isinstance(error, Exception):
        span.record_exception(error)
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR, str(error))
    elif error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
