"""Every error of a real server: JSON with one `error`, the right status and headers."""

import json
import re
import shutil
import socket
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.routing import Route

from service.oip import rest_routes
from service.rest import classify, health, predict, ui
from service.settings import RELEASED_MODEL
from tests.service.models import with_wrong_golden_samples
from tests.service.pictures import encode
from tests.serving import Server, serving, wait_until

SECONDS = 600
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PARAMETERS = {"{name}": "fashion_lenet", "{version}": "1.1.0"}
OTHERS = ("/", "/docs.json", "/schema.json", "/static_content/x")
ROUTES = [
    *classify.ROUTES,
    *predict.ROUTES,
    *rest_routes.ROUTES,
    *ui.ROUTES,
    *health.ROUTES,
]


def filled(path: str) -> str:
    for parameter, value in PARAMETERS.items():
        path = path.replace(parameter, value)
    return re.sub(r"\{[^}]*\}", "x", path)


ALLOWED = {
    **{filled(route.path): route.methods or set() for route in ROUTES if isinstance(route, Route)},
    **{path: {"GET", "HEAD"} for path in OTHERS},
}


def error(answer: httpx.Response) -> str:
    """The message of an error answer, which has nothing else."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Server-Timing"]
    content = answer.json()
    assert list(content) == ["error"]
    message: str = content["error"]
    assert message
    assert "Traceback" not in message
    assert "<" not in message
    return message


@pytest.mark.parametrize("path", ALLOWED)
def test_every_route_refuses_every_other_method(path: str, client: httpx.Client) -> None:
    for method in set(METHODS) - ALLOWED[path]:
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == ALLOWED[path]
        if method == "HEAD":
            assert answer.content == b""
        else:
            assert error(answer) == f"{path} does not take {method}: see the header Allow"


@pytest.mark.parametrize("path", sorted(set(ALLOWED) - {"/", "/v2"}))
def test_a_slash_at_the_end_is_another_address(path: str, client: httpx.Client) -> None:
    answer = client.get(path + "/")
    assert answer.status_code == 404
    assert answer.is_redirect is False
    error(answer)


def get_as_it_stands(client: httpx.Client, path: str) -> httpx.Response:
    return client.get(client.base_url.copy_with(raw_path=path.encode()))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a%0Ab", "/a\nb"),
        ("/a%0D%0ASet-Cookie:%20x=1", "/a\r\nSet-Cookie: x=1"),
        ("/%00", "/\0"),
        ("/%ff%fe", "/��"),
        ("/%E2%80%A8", "/\u2028"),
        ("/%3Cscript%3E", "/<script>"),
        ("/%7Bname%7D", "/{name}"),
        ("/a%3Fb%23c", "/a?b#c"),
        ("/" + "x" * 10_000, "/" + "x" * 199 + "..."),
        ("//", "//"),
        ("/..%2f..%2fetc/passwd", "/../../etc/passwd"),
    ],
)
def test_whatever_the_unknown_path_it_is_404_and_shown(
    path: str, shown: str, client: httpx.Client
) -> None:
    answer = get_as_it_stands(client, path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"error": f"there is no route {shown}: GET /docs.json lists the routes"}
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        *("/static_content/../../etc/passwd", "/static_content/..%2f..%2f..%2f..%2fetc%2fpasswd"),
        *("/static_content/%2fetc%2fpasswd", "/static_content//etc/passwd"),
        *("/static_content/%2e%2e/%2e%2e/%2e%2e/main.py", "/static_content/..%5c..%5cmain.py"),
        *("/static_content/%00", "/static_content/" + "x" * 300, "/static_content/."),
        *("/static_content", "/static_content/"),
    ],
)
def test_nothing_but_the_pages_files_is_served(path: str, client: httpx.Client) -> None:
    answer = get_as_it_stands(client, path)
    assert answer.status_code == 404
    error(answer)


@pytest.mark.parametrize(
    "path",
    [
        *("/__runner_name__", "/run", "/hello", "/debug", "/openapi.json", "/docs", "/redoc"),
        *("/task", "/classify/submit", "/classify/status", "/classify/get", "/classify/retry"),
        *("/health", "/mcp", "/ws", "/favicon.ico", "/index.html", "/__metadata__"),
    ],
)
def test_bentomls_other_routes_are_not_there(path: str, client: httpx.Client) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, path)
        assert answer.status_code == 404
        error(answer)


@pytest.mark.parametrize("host", ["", "[::1]:1", "x" * 5000])
def test_a_strange_host_header_changes_nothing(host: str, client: httpx.Client) -> None:
    headers = {"Host": host.encode()}
    assert error(client.get("/nothing", headers=headers)).startswith("there is no route /nothing")
    assert client.get("/livez", headers=headers).status_code == 200


def test_what_is_no_http_is_refused_in_json(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        with connection.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert json.loads(body) == {
        "error": "this is not an HTTP/1.1 request: Invalid method encountered"
    }


@pytest.fixture(scope="module")
def not_ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`bentoml serve` with a model that passes the check at start, and fails in the next worker."""
    folder = tmp_path_factory.mktemp("not_ready")
    model = folder / "model.onnx"
    shutil.copy(RELEASED_MODEL, model)
    with serving(folder, FASHION_MODEL=str(model), FASHION_DEVICE="cpu") as server:
        with_wrong_golden_samples(folder / "wrong.onnx").replace(model)
        (worker,) = server.workers()
        worker.kill()
        wait_until(lambda: "Not ready: " in server.log(), server)
        yield server


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/readyz"), ("GET", "/healthz"), ("GET", "/v2/health/ready")),
        *(("POST", "/classify"), ("POST", "/classify_batch"), ("POST", "/predict")),
        *(("GET", "/v2/models/fashion_lenet"), ("GET", "/v2/models/fashion_lenet/ready")),
        ("POST", "/v2/models/fashion_lenet/infer"),
    ],
)
def test_without_a_model_all_that_needs_it_is_503_with_retry_after(
    method: str, path: str, not_ready: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    with httpx.Client(base_url=not_ready.url, timeout=SECONDS) as client:
        if path == "/predict":
            answer = client.post(path, json={"images": ankle_boot[None, None].tolist()})
        else:
            answer = client.request(method, path, content=encode(ankle_boot))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "the model's golden samples come out wrong" in error(answer)


def test_without_a_model_the_process_lives(not_ready: Server) -> None:
    with httpx.Client(base_url=not_ready.url, timeout=SECONDS) as client:
        for path in ("/livez", "/v2/health/live", "/metrics", "/docs.json", "/", "/v2"):
            assert client.get(path).status_code == 200
        assert client.get("/classify").status_code == 405
        assert client.get("/nothing").status_code == 404
    assert "Traceback" not in not_ready.log()
