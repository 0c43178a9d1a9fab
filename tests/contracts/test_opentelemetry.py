"""OpenTelemetry: the logger that all its warnings go through.

Stood on by `service.telemetry.spans`.
"""

import logging

import pytest
from opentelemetry.sdk.resources import OTELResourceDetector
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_a_client_sends_and_what_is_set_is_warned_of_below_one_logger(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("opentelemetry")  # the service's tests may have left it a handler
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "no pair")
    OTELResourceDetector().detect()
    headers = {"traceparent": [TRACEPARENT], "tracestate": ["x" * 10_000]}
    TraceContextTextMapPropagator().extract(headers)
    assert len(caplog.records) == 2
    assert {record.name.partition(".")[0] for record in caplog.records} == {"opentelemetry"}
