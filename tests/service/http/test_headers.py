"""The security headers of every answer, and headers that must be absent."""

import socket

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.pictures import encode
from tests.serving import Server

NOTHING = "default-src 'none'; frame-ancestors 'none'"
ASKED = (
    *("GET /livez", "GET /readyz", "GET /metrics", "GET /docs.json", "GET /schema.json"),
    *("GET /nothing", "PUT /classify", "GET /classify", "POST /classify", "POST /predict"),
    *("GET /v2", "POST /v2/models/fashion_lenet/infer", "GET /v2/models/other", "HEAD /livez"),
    *("GET /static_content/swagger-ui.css", "GET /static_content/none", "OPTIONS /classify"),
)
PAGES = ("GET /", "GET /ui", "GET /ui/ui.js", "GET /ui/nothing", "POST /ui/seen")


def is_secure(answer: httpx.Response) -> str:
    """Check the headers of all answers; return the policy."""
    headers = answer.headers
    assert headers.get_list("X-Content-Type-Options") == ["nosniff"]
    assert headers.get_list("Referrer-Policy") == ["no-referrer"]
    assert "Server" not in headers
    assert "X-Powered-By" not in headers
    assert "uvicorn" not in str(headers).lower()
    (policy,) = headers.get_list("Content-Security-Policy")
    assert isinstance(policy, str)
    return policy


@pytest.mark.parametrize("asked", ASKED)
def test_no_answer_may_do_anything_in_a_browser(asked: str, client: httpx.Client) -> None:
    assert is_secure(client.request(*asked.split())) == NOTHING


@pytest.mark.parametrize("asked", PAGES)
def test_pages_have_a_policy_that_fits_and_what_is_not_there_has_none(
    asked: str, client: httpx.Client
) -> None:
    answer = client.request(*asked.split())
    policy = is_secure(answer)
    if answer.is_success:
        assert "script-src 'self';" in policy
    else:
        assert policy == NOTHING
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy


def test_answers_of_a_model_have_them_too(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post("/classify", files={"image": encode(ankle_boot)})
    assert answer.status_code == 200
    assert is_secure(answer) == NOTHING


def test_a_file_that_has_not_changed_keeps_its_policy(client: httpx.Client) -> None:
    found = client.get("/ui")
    again = client.get("/ui", headers={"If-None-Match": found.headers["ETag"]})
    assert again.status_code == 304
    assert is_secure(again) == is_secure(found)


def test_what_is_no_http_is_refused_with_them(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        answer = connection.recv(4096).lower()
    assert b" 400 " in answer.splitlines()[0]
    assert b"x-content-type-options: nosniff" in answer
    assert b"default-src 'none'" in answer
