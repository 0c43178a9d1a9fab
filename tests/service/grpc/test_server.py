"""The server: its keys, its limits on load and time, two workers, TLS, and its end."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.pages import run
from tests.service.grpc.conftest import (
    SERVICE,
    GRPCServer,
    method,
    refused,
    request,
    serving_grpc,
)
from tests.service.server.authority import OPENSSL, Authority
from tests.service.server.refused_start import refused as not_started
from tests.serving import ROOT, SERVE, free_port, start, wait_until

KEY = "a-key-for-grpc-0123456789"
METADATA = [("authorization", f"Bearer {KEY}")]
HEALTHY = health_pb2.HealthCheckResponse(status="SERVING")
ONE = request([1, 1, 28, 28], raw_input_contents=[bytes(784)]).SerializeToString()
LARGE = request([4000, 1, 28, 28], raw_input_contents=[bytes(4000 * 784)]).SerializeToString()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GRPCServer]:
    """Two workers that need a key, and take two requests at a time, for two seconds each."""
    settings = {
        "FASHION_API_KEY": KEY,
        "FASHION_WORKERS": "2",
        "FASHION_MAX_CONCURRENCY": "2",
        "FASHION_TIMEOUT_SECONDS": "2",
        "FASHION_DRAIN_SECONDS": "1",
    }
    with serving_grpc(tmp_path_factory.mktemp("strict"), **settings) as server:
        yield server


@pytest.fixture
def channel(strict: GRPCServer) -> Iterator[grpc.Channel]:
    with alone(strict) as channel:
        yield channel


def alone(server: GRPCServer) -> grpc.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(server.address, options=options)


def check(channel: grpc.Channel) -> health_pb2.HealthCheckResponse:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


def test_a_call_needs_a_key_and_probes_none(channel: grpc.Channel) -> None:
    infer = method(channel)
    for metadata, text in (
        ([], "the request has no key: send one as"),
        ([("authorization", "Bearer wrong-key-0123456789")], "the key is not valid: send one as"),
    ):
        error = refused(infer, ONE, metadata=metadata)
        assert error.code() is StatusCode.UNAUTHENTICATED
        assert error.details().startswith(text)
    for metadata in (METADATA, [("x-api-key", KEY)]):
        assert infer(ONE, metadata=metadata)
    assert check(channel) == HEALTHY
    for name in ("ServerLive", "ServerReady"):
        method(channel, name)(b"")
    assert refused(method(channel, "ServerMetadata"), b"").code() is StatusCode.UNAUTHENTICATED
    assert refused(channel.unary_unary("/a/b"), b"").code() is StatusCode.UNAUTHENTICATED
    database = ProtoReflectionDescriptorDatabase(channel)
    assert refused(database.get_services).code() is StatusCode.UNAUTHENTICATED


def test_each_worker_listens(strict: GRPCServer) -> None:
    def listens(worker: psutil.Process) -> bool:
        taken = worker.net_connections("tcp")
        return strict.port in {one.laddr.port for one in taken if one.status == "LISTEN"}

    wait_until(lambda: all(map(listens, strict.http.workers())), strict.http)


def test_too_many_calls_are_told_when_to_try_again(
    strict: GRPCServer, channel: grpc.Channel
) -> None:
    infer = method(channel)
    calls = [infer.future(LARGE, metadata=METADATA) for _ in range(16)]
    with alone(strict) as other:
        assert check(other) == HEALTHY
    errors = [error for call in calls if (error := call.exception())]
    assert 0 < len(errors) < 16
    for error in errors:
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert error.details().endswith("try again")
        hints = dict(error.trailing_metadata())
        assert (hints["retry-after"], hints["grpc-retry-pushback-ms"]) == ("1", "1000")
    assert infer(ONE, metadata=METADATA)


def test_calls_that_send_nothing_end_and_keep_no_one_out(channel: grpc.Channel) -> None:
    ended = threading.Event()

    def nothing() -> Iterator[bytes]:
        ended.wait()
        yield from ()

    silent = channel.stream_unary(f"/{SERVICE}/ModelInfer")
    calls = [silent.future(nothing(), metadata=METADATA) for _ in range(4)]
    assert method(channel)(ONE, metadata=METADATA)
    codes = sorted((call.exception().code() for call in calls), key=str)
    assert set(codes) <= {StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED}
    late = [call for call in calls if call.exception().code() is StatusCode.DEADLINE_EXCEEDED]
    assert late
    assert late[0].exception().details() == "the body was not complete after 2 s"
    ended.set()


def test_a_server_that_drains_says_so_and_loses_no_call(strict: GRPCServer) -> None:
    """The last test of this server."""
    answers: list[bytes] = []
    errors: list[grpc.RpcError] = []

    def ask(infer: Any) -> None:
        while not errors:
            try:
                answers.append(infer(ONE, metadata=METADATA))
            except grpc.RpcError as error:
                errors.append(error)

    with alone(strict) as watched, alone(strict) as other:
        watch = health_pb2_grpc.HealthStub(watched).Watch(health_pb2.HealthCheckRequest())
        states = [next(watch).status]
        asking = threading.Thread(target=ask, args=(method(other),))
        asking.start()
        wait_until(lambda: len(answers) > 10, strict.http)
        strict.http.process.send_signal(signal.SIGTERM)
        states.append(next(watch).status)
        answered = len(answers)
        asking.join()
        end = refused(next, watch)
    state = health_pb2.HealthCheckResponse
    assert states == [state.SERVING, state.NOT_SERVING]
    assert (end.code(), end.details()) == (StatusCode.UNAVAILABLE, "the server is stopping")
    assert len(answers) > answered  # while it drained
    (error,) = errors
    assert error.code() is StatusCode.UNAVAILABLE
    assert error.details() == "the server is stopping, send requests to another one"
    assert strict.http.process.wait() == 0
    assert "Traceback" not in strict.http.log()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        line = not_started(tmp_path, "--port", "0", FASHION_GRPC_PORT=str(port))
    assert f"FASHION_GRPC_PORT={port}: Address already in use; another program uses it" in line


def test_a_port_of_its_own(tmp_path: Path) -> None:
    line = not_started(tmp_path, "--port", "4001", FASHION_GRPC_PORT="4001")
    assert "FASHION_GRPC_PORT=4001 is the port of the service: choose another" in line


def test_tls_has_the_flags_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("server", "serverAuth")
    clients = [path.read_bytes() for path in authority.sign("client", "clientAuth")]
    port = free_port()
    command = [*SERVE, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    command += ["--ssl-ca-certs", str(authority.certificate), "--ssl-cert-reqs", "2"]
    settings = {"FASHION_DEVICE": "cpu", "FASHION_GRPC_PORT": str(port)}
    server = start(tmp_path, command, ROOT, settings)
    trusted = authority.certificate.read_bytes()
    try:
        wait_until(lambda: "initialized" in server.log(), server)
        own = grpc.ssl_channel_credentials(trusted, clients[1], clients[0])
        with grpc.secure_channel(f"localhost:{port}", own) as channel:
            grpc.channel_ready_future(channel).result()
            assert method(channel)(ONE)
        nobody = grpc.ssl_channel_credentials(trusted)
        with grpc.secure_channel(f"localhost:{port}", nobody) as channel:
            assert refused(method(channel), ONE).code() is StatusCode.UNAVAILABLE
    finally:
        for process in psutil.Process(server.process.pid).children(recursive=True):
            process.terminate()
        server.stop()


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("server", "serverAuth")
    locked = tmp_path / "locked.key"
    command = [str(OPENSSL), "rsa", "-aes256", "-passout", "pass:secret", "-in", str(key)]
    run([*command, "-out", str(locked)], tmp_path, {})
    files = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(locked))
    password = ("--ssl-keyfile-password", "secret")
    line = not_started(
        tmp_path, "--port", "0", *files, *password, FASHION_GRPC_PORT=str(free_port())
    )
    assert f"the key {locked} has a password, which gRPC cannot take" in line


def send_head(client: socket.socket, **changed: bytes) -> None:
    """Send a call's head as bytes, such as no client of gRPC sends."""
    headers = {":method": b"POST", ":scheme": b"http", ":authority": b"localhost"}
    headers |= {"te": b"trailers", "content-type": b"application/grpc"}
    literals = b"".join(  # RFC 7541, section 6.2.2
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value
        for name, value in (headers | changed).items()
    )
    settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, section 4.1
    head = bytes([0, 0, len(literals), 1, 5, 0, 0, 0, 1]) + literals
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + head)


def test_a_path_that_is_not_utf_8_stops_no_server(grpc_server: GRPCServer) -> None:
    with socket.create_connection(("127.0.0.1", grpc_server.port)) as client:
        send_head(client, **{":path": b"/\xff"})
        grpc_server.http.line("gRPC ended, and starts again: ")
    with grpc.insecure_channel(grpc_server.address) as channel:
        live = method(channel, "ServerLive")(b"", wait_for_ready=True, timeout=30)
    assert live == b"\x08\x01"


def test_metadata_that_are_not_utf_8_leave_one_line(grpc_server: GRPCServer) -> None:
    with socket.create_connection(("127.0.0.1", grpc_server.port)) as client:
        send_head(client, **{":path": b"/not-utf-8", "x-note": b"\xff"})
        grpc_server.http.line("/not-utf-8")
    assert "Invalid encoding" not in grpc_server.http.log()
