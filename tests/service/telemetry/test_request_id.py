"""X-Request-ID: the client's own if it is valid, otherwise a new one; in the answer and the log."""

import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.request_id import request_id
from tests.serving import Server

MADE = re.compile("[0-9a-f]{32}")
ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def with_ids(*values: bytes) -> str:
    headers = [(b"host", b"x"), *((b"x-request-id", value) for value in values)]
    return request_id({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    "given_id",
    [
        "1",
        "a" * 128,
        "9f2c7a4e-1b1d-4c8e-8f52-0d1f0f8c2b6a",
        "Root=1-67891233-abcdef012345678912345678",
    ],
)
def test_a_plain_id_is_kept(given_id: str, client: httpx.Client) -> None:
    answer = client.get("/livez", headers={"X-Request-ID": given_id})
    assert answer.headers["X-Request-ID"] == given_id


@pytest.mark.parametrize("given_id", ["", "a b", 'a"b', "a" * 129, "é", "a\tb", "a;b", "a\\n"])
def test_any_other_is_replaced(given_id: str, client: httpx.Client) -> None:
    answer = client.get("/livez", headers={"X-Request-ID": given_id.encode()})
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


@given(st.binary(max_size=200))
def test_an_id_is_kept_or_made(value: bytes) -> None:
    found = with_ids(value)
    assert found == value.decode() if ACCEPTED.fullmatch(value) else MADE.fullmatch(found)


def test_a_line_break_at_the_end_is_no_part_of_an_id() -> None:
    assert MADE.fullmatch(with_ids(b"abc\n"))


def test_of_several_the_first_that_is_plain_is_kept() -> None:
    assert with_ids(b"not plain", b"first", b"second") == "first"


def test_no_two_requests_get_the_same() -> None:
    assert len({with_ids() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/nothing", 404), ("GET", "/classify", 405), ("POST", "/classify", 400)),
        *(("GET", "/docs.json", 200), ("GET", "/", 200), ("GET", "/v2", 200)),
    ],
)
def test_every_answer_has_it_and_so_has_the_log(
    method: str, path: str, status: int, client: httpx.Client, server: Server
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    made = answer.headers["X-Request-ID"]
    assert MADE.fullmatch(made)
    assert f" method={method} path={path} status={status} " in server.line(f"request_id={made} ")
