"""Where a server listens, and why it cannot."""

import errno
import socket
from pathlib import Path

import pytest

from service.errors import StartError
from service.server.listening import Address, cannot_listen, check_tls
from tests.serving import ROOT

EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        (EVERYWHERE, EVERYWHERE),
        ("0", EVERYWHERE),
        ("127.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::"),
    ],
)
def test_a_host_becomes_an_address(host: str, found: str) -> None:
    assert Address.find(host, 3000) == Address(found, 3000)


@pytest.mark.parametrize(
    "host", ["", " ", "unknown.name.invalid", "10.0.0.256", "a" * 70, "\udc80"]
)
def test_a_host_that_is_none_is_named(host: str) -> None:
    with pytest.raises(StartError, match="--host"):
        Address.find(host, 3000)


@pytest.mark.parametrize("port", [-1, 65536, 70000, 2**40])
def test_a_port_that_is_none_is_named(port: int) -> None:
    with pytest.raises(StartError, match=f"^--port is {port}, expected 0 to 65535$"):
        Address.find("127.0.0.1", port)


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_a_port_is_taken_as_it_is(port: int) -> None:
    assert Address.find("localhost", port).port == port


@pytest.mark.parametrize(
    ("host", "local", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:80"),
        ("127.9.9.9", True, "http://127.9.9.9:80"),
        ("::1", True, "http://[::1]:80"),
        ("::ffff:127.0.0.1", True, "http://[::ffff:127.0.0.1]:80"),
        (EVERYWHERE, False, "http://localhost:80"),
        ("::", False, "http://localhost:80"),
        ("192.168.1.5", False, "http://192.168.1.5:80"),
        ("2001:db8::5", False, "http://[2001:db8::5]:80"),
    ],
)
def test_who_reaches_an_address(host: str, local: bool, url: str) -> None:
    address = Address(host, 80)
    assert address.is_local == local
    assert address.url("http") == url


def test_why_nobody_can_listen_there_is_said_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        address = Address(*first.getsockname())
        with pytest.raises(OSError, match="in use") as caught:
            socket.create_server((address.host, address.port))
    where = f"cannot listen on {address}"
    assert str(cannot_listen(where, caught.value)) == (
        f"cannot listen on 127.0.0.1:{address.port}: Address already in use; another program uses "
        "it, choose another port"
    )
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert "choose a port from 1024 up" in str(cannot_listen(where, denied))
    other = OSError(errno.EINVAL, "Invalid argument")
    where = f"cannot listen on {Address('::1', 80)}"
    assert str(cannot_listen(where, other)) == "cannot listen on [::1]:80: Invalid argument"


# What BentoML gives where no flag does.
NOTHING = {"ssl_version": 17, "ssl_cert_reqs": 0, "ssl_ciphers": "TLSv1", "ssl_certfile": None}


def test_without_a_file_there_is_nothing_to_see() -> None:
    check_tls(NOTHING)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ssl_certfile": "missing.pem"}, "--ssl-certfile missing.pem: No such file or directory"),
        ({"ssl_certfile": str(ROOT)}, f"--ssl-certfile {ROOT}: Is a directory"),
        (
            {"ssl_certfile": str(ROOT / "README.md")},
            "TLS cannot be set up with --ssl-certfile .*README.md: ",
        ),
        ({"ssl_keyfile": "server.key"}, "--ssl-keyfile needs --ssl-certfile too"),
        ({"ssl_ca_certs": "clients.pem"}, "--ssl-ca-certs needs --ssl-certfile too"),
    ],
)
def test_tls_that_cannot_be_spoken_is_refused(options: dict[str, str], reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        check_tls({**NOTHING, **options})


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    looped = tmp_path / "looped.pem"
    looped.symlink_to(looped)
    with pytest.raises(StartError, match=r"--ssl-certfile .*looped\.pem: "):
        check_tls({"ssl_certfile": str(looped)})
