"""OpenTelemetry's span exporters, their batch size, and the logging of its warnings."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from service.errors import TracingError
from service.version import SERVER, SERVER_VERSION

logger = logging.getLogger("bentoml.fashion_lenet")

# Spans sent together, unless the variable is set. Serializing OpenTelemetry's default of 512 makes
# requests wait: the 99th percentile was 80 ms with 512, and 11 ms with 64.
BATCH_VARIABLE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
SPANS_PER_EXPORT = 64

SILENCE_SECONDS = 60.0  # between two log lines with the same message


def tracer_provider() -> TracerProvider:
    """Return the provider that sends spans, configured by OpenTelemetry's variables.

    Raises:
        TracingError: a variable is invalid, or OpenTelemetry logs a warning about one.
    """
    defaults = {"service.name": SERVER, "service.version": SERVER_VERSION}
    with _warnings() as warnings:
        try:
            named = OTELResourceDetector().detect().attributes
            resource = Resource.create({**defaults, **named})
            # No shutdown at exit: it would wait for an unreachable collector.
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            batch = None if BATCH_VARIABLE in os.environ else SPANS_PER_EXPORT
            for exporter in _exporters():
                processor = BatchSpanProcessor(exporter, max_export_batch_size=batch)
                provider.add_span_processor(processor)
        except ValueError as error:
            raise TracingError(f"OpenTelemetry's variables: {error}") from error
    if warnings:
        raise TracingError(f"OpenTelemetry's variables: {' '.join(warnings)}")
    return provider


def _exporters() -> list[SpanExporter]:
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name not in ("otlp", "console", "none"):
        raise TracingError(f"OTEL_TRACES_EXPORTER={name}: expected otlp, console or none")
    if name == "none":
        return []
    if name == "console":
        return [ConsoleSpanExporter()]
    for protocol in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(protocol, "http/protobuf") != "http/protobuf":
            raise TracingError(f"{protocol}={os.environ[protocol]}: expected http/protobuf")
    for endpoint in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if value := os.environ.get(endpoint):
            url = urlsplit(value)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise TracingError(
                    f"{endpoint}={value}: expected a URL such as http://localhost:4318"
                )
    return [OTLPSpanExporter()]


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Yield a list that collects OpenTelemetry's warnings."""
    handler = _Collecting(logging.WARNING)
    log = logging.getLogger("opentelemetry")
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield handler.messages
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


class _Collecting(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class _RateLimitedHandler(logging.Handler):
    """Log OpenTelemetry's warnings, but each line of its code at most once a minute."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._logged: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._logged.get(place, -SILENCE_SECONDS) >= SILENCE_SECONDS:
            self._logged[place] = now
            logger.warning("Tracing: %s", record.getMessage())


def rate_limit_opentelemetry_log() -> None:
    """Limit the log lines about an unreachable collector or a client's broken headers."""
    log = logging.getLogger("opentelemetry")
    log.propagate = False
    log.handlers = [_RateLimitedHandler(logging.WARNING)]
