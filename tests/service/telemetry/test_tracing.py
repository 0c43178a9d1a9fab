"""The configuration of tracing: OpenTelemetry's variables and packages, and the cost when off."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.server.startup import check_tracing
from service.settings import ServiceSettings
from tests.serving import ROOT, SERVE, environment, start

EXPORTER = "opentelemetry.exporter"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "zipkin: expected otlp, console or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "grpc: expected http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4318",
            "expected a URL such as http://localhost:4318",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "expected a URL such as http://localhost:4318"),
        ("OTEL_TRACES_SAMPLER", "some", "Couldn't recognize sampler some"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "Invalid timeout value 'soon'"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "Unsupported compression type: zip"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size must be a positive integer"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "OTEL_BSP_SCHEDULE_DELAY"),
    ],
)
def test_a_wrong_variable_is_refused_with_its_reason(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match=re.escape(message)) as caught:
        check_tracing()
    assert str(caught.value).startswith("FASHION_TRACING=1: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("exporter", ["none", "console", "otlp"])
def test_the_exporters_there_are(exporter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporter)
    check_tracing()


def test_the_server_does_not_start_with_a_wrong_variable(tmp_path: Path) -> None:
    settings = {"FASHION_DEVICE": "cpu", "FASHION_TRACING": "1", "OTEL_TRACES_SAMPLER": "some"}
    server = start(tmp_path, SERVE, ROOT, settings)
    assert server.process.wait(120) == 1
    assert "FASHION_TRACING=1: " in server.log()
    assert "Traceback" not in server.log()


def test_missing_packages_are_named(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        f"sys.modules['{EXPORTER}.otlp'] = None\n"
        "from service.server.startup import check_tracing\n"
        "check_tracing()\n"
    )
    done = python(program, tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "FASHION_TRACING=1: " in last
    assert last.endswith(": install requirements/serve.lock")


def test_off_it_costs_no_memory_and_no_time(tmp_path: Path) -> None:
    assert not ServiceSettings().tracing
    program = (
        "import sys\n"
        "from service.classifier import FashionClassifier\n"
        "FashionClassifier.to_asgi()\n"
        "print(*sys.modules)\n"
    )
    done = python(program, tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "service.middleware.instrumentation" in loaded
    assert not {"service.middleware.tracing", "service.telemetry.spans", "grpc"} & set(loaded)
    assert not [name for name in loaded if name.startswith((EXPORTER, "opentelemetry.proto"))]


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {"FASHION_DEVICE": "cpu", "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
