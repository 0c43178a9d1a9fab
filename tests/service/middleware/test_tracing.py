"""Spans of requests, as a real server sends them to a collector."""

import json
import re
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.http.error_responses import HANDLERS
from service.inference.served_model import CPU_BATCH
from service.middleware.instrumentation import InstrumentationMiddleware
from service.telemetry.access_log import AccessLog
from service.version import SERVER_VERSION
from tests.pages import blocks
from tests.service.collector import Collector, Span, collecting
from tests.service.grpc.conftest import SERVICE, address, method, refused, request
from tests.service.pictures import encode
from tests.serving import ROOT, Server, free_port, serving, wait_until

PAGE = ROOT / "docs" / "operations.md"
PNG = {"Content-Type": "image/png"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"  # the example of W3C Trace Context, section 3.2.2.5
SERVER_KIND, ERROR = 2, 2
SECONDS = 600

QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


def traced(collector: Collector, **settings: str) -> dict[str, str]:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    on = {"FASHION_DEVICE": "cpu", "FASHION_TRACING": "1"}
    return {**on, **endpoint, **QUICKLY, **settings}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("traced")
    settings = {"FASHION_ACCESS_LOG": "json", "FASHION_GRPC_PORT": str(free_port())}
    with serving(folder, **traced(collector, **settings)) as server:
        yield server


def logged(server: Server, request_id: str) -> dict[str, object]:
    """The access log's line of a request."""
    found: dict[str, object] = json.loads(server.line(f'"request_id":"{request_id}"'))
    return found


def times(span: Span) -> tuple[int, int]:
    return int(span.sent.start_time_unix_nano), int(span.sent.end_time_unix_nano)


def test_a_request_is_a_span_of_its_callers_trace_with_its_parts_below(
    server: Server, client: httpx.Client, collector: Collector, ankle_boot: NDArray[np.uint8]
) -> None:
    before = time.time_ns()
    headers = PNG | {"X-Request-ID": "whole", "traceparent": TRACEPARENT, "tracestate": "a=1,b=2"}
    answer = client.post("/classify?top_k=10", content=encode(ankle_boot), headers=headers)
    after = time.time_ns()
    assert answer.json()["label"] == "Ankle boot"
    span, parts = collector.request("whole")
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert span.sent.trace_state == "a=1,b=2"
    assert (span.name, span.sent.kind, span.status) == ("POST /classify", SERVER_KIND, 0)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/classify",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/classify",
        "client.address": "127.0.0.1",
        "request_id": "whole",
    }
    assert [part.name for part in parts] == ["decode", "inference"]
    assert {part.trace_id for part in parts} == {TRACE}
    decode, inference = map(times, parts)
    start, end = times(span)
    assert before <= start <= decode[0] < decode[1] <= inference[0] < inference[1] <= end
    assert start <= after
    queue = parts[1].attributes.pop("queue_ms")
    assert 0 <= queue <= (inference[1] - inference[0]) / 1e6
    version = httpx.get(f"{server.url}/readyz").json()["model"]["version"]
    assert parts[1].attributes == {"model.version": version, "batch_size": 1}
    line = logged(server, "whole")
    assert line["trace_id"] == TRACE
    assert line["decode_ms"] == pytest.approx((decode[1] - decode[0]) / 1e6, abs=0.01)
    assert line["inference_ms"] == pytest.approx((inference[1] - inference[0]) / 1e6, abs=0.01)


def test_a_call_over_grpc_is_a_span_too(
    server: Server, collector: Collector, ankle_boot: NDArray[np.uint8]
) -> None:
    sent = request([1, 1, 28, 28], raw_input_contents=[ankle_boot.tobytes()])
    metadata = [("x-request-id", "call"), ("traceparent", TRACEPARENT), ("tracestate", "a=1")]
    with grpc.insecure_channel(address(server)) as channel:
        method(channel)(sent.SerializeToString(), metadata=metadata)
        metadata = [("x-request-id", "wrong-call")]
        refused(method(channel), b"\xff", metadata=metadata)
    span, parts = collector.request("call")
    assert (span.trace_id, span.parent_id, span.sent.trace_state) == (TRACE, PARENT, "a=1")
    assert (span.name, span.sent.kind) == (f"{SERVICE}/ModelInfer", SERVER_KIND)
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "client.address": "127.0.0.1",
        "request_id": "call",
    }
    assert [part.name for part in parts] == ["decode", "decode", "inference"]
    assert logged(server, "call")["trace_id"] == TRACE
    wrong, _ = collector.request("wrong-call")
    assert (wrong.status, wrong.attributes["rpc.grpc.status_code"]) == (0, 3)


def test_who_sends_them_is_told(client: httpx.Client, collector: Collector) -> None:
    client.get("/v2", headers={"X-Request-ID": "resource"})
    span, parts = collector.request("resource")
    assert parts == []
    assert span.resource["service.name"] == "fashion-lenet-bn"
    assert span.resource["service.version"] == SERVER_VERSION


def test_a_large_request_tells_its_largest_run(
    client: httpx.Client, collector: Collector, images: NDArray[np.uint8]
) -> None:
    content = {"images": images[: CPU_BATCH + 1, None].tolist()}
    client.post("/predict", json=content, headers={"X-Request-ID": "large"})
    _, parts = collector.request("large")
    assert [part.name for part in parts] == ["decode", "inference"]
    assert parts[1].attributes["batch_size"] == CPU_BATCH


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-{PARENT}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
        {"traceparent": f"00-{TRACE.upper()}-{PARENT}-01"},
        {"traceparent": TRACEPARENT + "-more"},
        {"traceparent": TRACEPARENT[:-1]},
        {"traceparent": "\xff" * 2000},
        {"tracestate": "a=1"},
    ],
)
def test_without_a_right_traceparent_a_trace_begins(
    sent: dict[str, str],
    server: Server,
    client: httpx.Client,
    collector: Collector,
    request: pytest.FixtureRequest,
) -> None:
    name = re.sub(r"\W", "-", request.node.name)[-60:]
    raw = [(key.encode(), value.encode("latin-1")) for key, value in sent.items()]
    answer = client.get("/v2", headers=[*raw, (b"x-request-id", name.encode())])
    assert answer.status_code == 200
    span, _ = collector.request(name)
    assert span.parent_id == span.sent.trace_state == ""
    assert span.trace_id not in (TRACE, "0" * 32)
    assert logged(server, name)["trace_id"] == span.trace_id


@pytest.mark.parametrize("state", ["x" * 10_000, "no pair", "a=1," * 100, "", "\xff=1"])
def test_a_broken_tracestate_leaves_the_trace(
    state: str, client: httpx.Client, collector: Collector, request: pytest.FixtureRequest
) -> None:
    name = f"state-{abs(hash(state))}"
    headers = [(b"traceparent", TRACEPARENT.encode()), (b"tracestate", state.encode("latin-1"))]
    answer = client.get("/v2", headers=[*headers, (b"x-request-id", name.encode())])
    assert answer.status_code == 200
    span, _ = collector.request(name)
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)


def test_headers_that_opentelemetry_warns_of_do_not_flood_the_log(
    server: Server, client: httpx.Client, collector: Collector
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "x" * 10_000}
    names = [f"flood-{n}" for n in range(20)]
    for name in names:
        client.get("/v2", headers=headers | {"X-Request-ID": name})
    for name in names:
        collector.request(name)
    assert server.log().count("Tracing: tracestate header exceeded") == 1


def test_a_trace_that_is_not_sampled_is_not_sent_and_logged_all_the_same(
    server: Server, client: httpx.Client, collector: Collector
) -> None:
    headers = {"traceparent": TRACEPARENT[:-1] + "0", "X-Request-ID": "unsampled"}
    client.get("/v2", headers=headers)
    client.get("/v2", headers={"X-Request-ID": "after unsampled".replace(" ", "-")})
    collector.request("after-unsampled")
    assert not [s for s in collector.all() if s.attributes.get("request_id") == "unsampled"]
    assert logged(server, "unsampled")["trace_id"] == TRACE


def test_what_a_client_did_wrong_is_no_error(client: httpx.Client, collector: Collector) -> None:
    answer = client.post("/classify", content=b"x", headers=PNG | {"X-Request-ID": "broken"})
    assert answer.status_code == 400
    span, parts = collector.request("broken")
    assert (span.status, span.attributes["http.response.status_code"]) == (0, 400)
    assert [(part.name, part.status) for part in parts] == [("decode", 0)]


def test_paths_and_methods_of_a_clients_own_are_in_no_name(
    client: httpx.Client, collector: Collector
) -> None:
    client.request("PROPFIND", "/" + "coffee" * 200, headers={"X-Request-ID": "coffee"})
    span, _ = collector.request("coffee")
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert "http.route" not in span.attributes
    assert span.attributes["url.path"] == ("/" + "coffee" * 200)[:500]


def test_the_pages_command_traces_and_what_waits_is_sent_when_the_server_stops(
    collector: Collector, tmp_path: Path
) -> None:
    (command,) = [block for block in blocks(PAGE.read_text(), "sh") if "OTEL" in block]
    *variables, bentoml, serve = shlex.split(command)
    assert (bentoml, serve) == ("bentoml", "serve")
    settings = dict(variable.split("=") for variable in variables)
    assert settings["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"
    settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "FASHION_DEVICE": "cpu"}
    settings |= {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_SERVICE_NAME": "shop"}
    with serving(tmp_path, **settings) as server:
        httpx.get(f"{server.url}/v2", headers={"X-Request-ID": "last"})
        assert server.stop() == 0
    span, _ = collector.request("last")
    assert span.resource["service.name"] == "shop"
    assert f"trace_id={span.trace_id}" in server.log()


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "never answers"])
def test_a_collector_that_is_away_holds_nothing_up(
    listens: bool, tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    """The exporter would wait for ten minutes, longer than the test."""
    with socket.socket() as bound:  # its port is nobody else's
        bound.bind(("127.0.0.1", 0))
        if listens:
            bound.listen()
        away = Collector(f"http://127.0.0.1:{bound.getsockname()[1]}")
        small = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
        patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        with serving(tmp_path, **traced(away, **small, **patience)) as server:
            content = encode(ankle_boot)
            with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
                for _ in range(200):
                    answer = client.post("/classify", content=content, headers=PNG)
                    assert answer.status_code == 200
            if not listens:
                wait_until(lambda: "Tracing: " in server.log(), server)
            assert server.stop() == 0
        said = [line for line in server.log().splitlines() if "Tracing: " in line]
    assert len(said) <= 5, said
    assert "Traceback" not in server.log()


def test_a_fault_of_ours_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from service.middleware.tracing import TracingMiddleware
    from service.telemetry.spans import SpanRecorder

    async def fault(request: Request) -> Response:
        raise ZeroDivisionError("a fault of ours")

    async def busy(request: Request) -> Response:
        return Response(status_code=503)

    routes = [Route("/fault", fault), Route("/busy", busy)]
    for name, value in QUICKLY.items():
        monkeypatch.setenv(name, value)
    with collecting() as collector, (tmp_path / "log").open("wb") as log:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        inner = Starlette(routes=routes, exception_handlers=HANDLERS)
        app = TracingMiddleware(inner, routes, SpanRecorder())
        observed = InstrumentationMiddleware(app, routes, AccessLog("json", log.fileno()))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(observed, log_config=None, lifespan="on"))
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            for name in ("fault", "busy"):
                httpx.get(f"{url}/{name}", headers={"X-Request-ID": name})
            faulty, _ = collector.request("fault")
            unready, _ = collector.request("busy")
            server.should_exit = True
            thread.join(SECONDS)
    assert (faulty.name, faulty.status) == ("GET /fault", ERROR)
    assert faulty.sent.status.message == "a fault of ours"
    assert faulty.attributes["http.response.status_code"] == 500
    assert faulty.attributes["error.type"] == "ZeroDivisionError"
    (event,) = faulty.sent.events
    assert event.name == "exception"
    assert (unready.status, unready.attributes["error.type"]) == (ERROR, "503")
    assert [r.getMessage() for r in caplog.records if r.exc_info] == ["Request fault failed:"]
