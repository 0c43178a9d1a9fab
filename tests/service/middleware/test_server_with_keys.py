"""A server with keys: which requests are accepted, by which header, and what needs no key."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import tritonclient.http
from numpy.typing import NDArray
from pydantic import SecretStr
from tritonclient.utils import InferenceServerException

from service.middleware.authentication import needs_key
from service.openapi.document import OpenAPI
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
from tests.pages import at_port, blocks, run
from tests.service.asgi_host import connected, eventually, read_answer
from tests.service.middleware.keys import FIRST, OPEN, SECOND, WRONG
from tests.service.pictures import encode
from tests.serving import ROOT, SERVE, Server, environment, serving

# BentoML's clients leave folders to be cleaned up by the end of their process: it is its own.
BENTOML = """
import sys
from pathlib import Path
import bentoml
from bentoml.exceptions import BentoMLException

url, path, token = sys.argv[1:]
try:
    with bentoml.SyncHTTPClient(url, token=token) as client:
        print(client.classify(image=Path(path))["label"])
except BentoMLException as error:
    print(error)
"""

PNG = {"Content-Type": "image/png"}
CLOSED = (
    *("/", "/docs.json", "/schema.json", "/metrics", "/static_content/swagger-ui.css"),
    *("/v2", "/v2/models/fashion_lenet", "/v2/models/fashion_lenet/versions/1.1.0"),
    *("/nothing", "/classify", "/livez/", "/livez%0A", "/ui2", "//livez", "/ui/model"),
)
POSTS = (
    *("/classify", "/classify_batch", "/predict", "/ui/seen", "/livez", "/ui", "/nothing"),
    "/v2/models/fashion_lenet/infer",
)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two keys."""
    settings = {"FASHION_DEVICE": "cpu", "FASHION_API_KEY": f"{FIRST},{SECOND}"}
    with serving(tmp_path_factory.mktemp("closed"), **settings) as server:
        yield server


@pytest.fixture
def stranger(closed: Server) -> Iterator[httpx.Client]:
    """A client that has no key."""
    with httpx.Client(base_url=closed.url, timeout=60) as client:
        yield client


def is_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.url
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert list(answer.json()) == ["error"]
    assert "Authorization: Bearer KEY or as X-API-Key: KEY" in answer.json()["error"]
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", OPEN)
def test_probes_and_the_page_are_open(path: str, stranger: httpx.Client) -> None:
    assert stranger.get(path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_is_closed_known_or_not(path: str, stranger: httpx.Client) -> None:
    url = stranger.base_url.copy_with(raw_path=path.encode())
    is_refused(stranger.get(url))
    assert stranger.get(url, headers={"X-API-Key": FIRST}).status_code != 401


@pytest.mark.parametrize("path", POSTS)
def test_no_post_is_open(path: str, stranger: httpx.Client) -> None:
    is_refused(stranger.post(path, content=b"x"))


def test_no_other_method_is_open(stranger: httpx.Client) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE"):
        is_refused(stranger.request(method, "/livez"))
    assert stranger.head("/livez").status_code == 200


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    "header", ["Authorization: Bearer ", "authorization: bEARER  ", "X-API-Key: "]
)
def test_each_key_lets_in_by_either_header(
    header: str, key: str, stranger: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    name, scheme = header.split(": ")
    headers = PNG | {name: scheme + key}
    answer = stranger.post("/classify", content=encode(ankle_boot), headers=headers)
    assert answer.json()["label"] == "Ankle boot"
    assert stranger.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": WRONG},
        {"X-API-Key": ""},
        {"X-API-Key": FIRST[:-1]},
        {"X-API-Key": FIRST + "x"},
        {"X-API-Key": f"{FIRST},{SECOND}"},
        {"X-API-Key": FIRST.upper()},
        {"X-API-Key": "kéy".encode() * 8},
        {"Authorization": FIRST},
        {"Authorization": f"Basic {FIRST}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {WRONG}"},
        {"Cookie": f"X-API-Key={FIRST}"},
    ],
    ids=str,
)
def test_nothing_else_lets_in(headers: Any, stranger: httpx.Client) -> None:
    is_refused(stranger.get("/docs.json", headers=headers))
    is_refused(stranger.get(f"/docs.json?api_key={FIRST}&X-API-Key={FIRST}", headers=headers))


def test_it_is_refused_before_its_body_comes(closed: Server) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: here\r\nContent-Length: 9000000\r\n\r\n"
    with connected(closed.port, head) as connection:
        status, headers, content = read_answer(connection)
    assert status == 401
    assert "the request has no key" in content["error"]
    assert headers["www-authenticate"] == "bearer"


def test_refusals_are_counted_by_their_route_or_as_other(stranger: httpx.Client) -> None:
    for _ in range(3):
        stranger.post("/v2/models/fashion_lenet/infer", content=b"{}")
        stranger.get("/not-a-route")

    def metrics() -> str:
        return stranger.get("/metrics", headers={"X-API-Key": FIRST}).text

    def counted() -> bool:
        found = re.findall(r'requests_total\{route="(.*?)",status="401"\} (\S+)', metrics())
        most = {route: float(count) for route, count in found}
        return min(most.get("/v2/models/{name}/infer", 0), most.get("other", 0)) >= 3

    eventually(counted)
    assert "not-a-route" not in metrics()


def test_bentomls_client_has_a_token(closed: Server, ankle_boot_file: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", BENTOML, closed.url, str(ankle_boot_file)]
    assert run([*command, SECOND], ROOT, {}) == "Ankle boot\n"
    assert "Ankle boot" not in run([*command, WRONG], ROOT, {})


def test_tritons_client_has_headers(closed: Server, images: NDArray[np.uint8]) -> None:
    entry = tritonclient.http.InferInput("image", [1, 1, 28, 28], "UINT8")
    entry.set_data_from_numpy(images[:1, None])
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{closed.port}") as client:
        assert client.is_model_ready("fashion_lenet")
        headers = {"Authorization": f"Bearer {FIRST}"}
        answer = client.infer("fashion_lenet", [entry], headers=headers)
        assert answer.as_numpy("probabilities").argmax() == 9
        with pytest.raises(InferenceServerException, match="the request has no key") as caught:
            client.infer("fashion_lenet", [entry])
    assert caught.value.status() == "401"


def test_the_description_says_where_a_key_is_needed(stranger: httpx.Client) -> None:
    described = stranger.get("/docs.json", headers={"X-API-Key": FIRST}).json()
    assert (
        described
        == OpenAPI(
            ServiceSettings(api_key=(SecretStr(FIRST),)), load_model(ServiceSettings(device="cpu"))
        ).asdict()
    )
    schemathesis.openapi.from_dict(described).validate()
    assert set(described["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            closed = needs_key(method.upper(), path)
            assert ("401" in operation["responses"]) == closed
            assert ("security" in operation) == closed
    open_to_all = {path for path, found in described["paths"].items() if "get" in found} & {
        path for path in described["paths"] if not needs_key("GET", path)
    }
    assert len(open_to_all) == 9
    assert "securitySchemes" not in OpenAPI().asdict()["components"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "key 1 of 1 is empty"),
        (f"{FIRST},", "key 2 of 2 is empty"),
        ("secret", "key 1 of 1 has 6 characters"),
        (f"{FIRST},123456789012345", "key 2 of 2 has 15 characters"),
        (f"{FIRST}, {SECOND}", "key 2 of 2 has white space in it or around it"),
        (f"{FIRST}\n", "key 1 of 1 has white space in it or around it"),
        ("pässwörter-sind-lang", "key 1 of 1 has a character that no header can carry"),
        ("\x7f" * 20, "key 1 of 1 has a character that no header can carry"),
    ],
)
def test_what_can_be_no_key_stops_the_start_and_is_not_repeated(
    value: str, message: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "info"],
        cwd=ROOT,
        env=environment(tmp_path, {"FASHION_API_KEY": value}),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2
    assert f"FASHION_API_KEY: Value error, {message}; expected 16 to 1024 ASCII" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for key in value.split(","):
        assert not key or key not in done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on the PATH")
def test_the_pages_commands_make_a_key_and_send_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    place = tmp_path / "fashion.key"
    serve, ask = (
        block.replace("fashion.key", str(place))
        for block in blocks(page, "sh")
        if "fashion.key" in block
    )
    script = serve.replace("bentoml serve", f'exec {shlex.join(SERVE)} "$@"')
    with serving(tmp_path, command=["sh", "-ec", script, "sh"], FASHION_DEVICE="cpu") as server:
        assert '"label":"Ankle boot"' in run(["sh", "-c", at_port(ask, server)], ROOT, {})
        assert httpx.get(f"{server.url}/docs.json").status_code == 401
        assert place.read_text() not in server.log()
    assert re.fullmatch("[0-9a-f]{64}", place.read_text())
