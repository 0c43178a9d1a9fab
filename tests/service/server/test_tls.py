"""https by BentoML's flags, with certificates that the test's own authority has signed."""

import shlex
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pages import blocks
from tests.service.pictures import encode
from tests.service.server.authority import OPENSSL, Authority
from tests.serving import ROOT, SERVE, Server, start, wait_until

PAGE = (ROOT / "docs" / "operations.md").read_text()
SIMPLE, MUTUAL = (block for block in blocks(PAGE, "sh") if "--ssl-certfile" in block)
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl on the PATH")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    """The server's, and its key."""
    return authority.sign("server", "serverAuth")


def context(authority: Authority, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's authorities and certificate."""
    found = ssl.create_default_context(cafile=authority.certificate)
    if own:
        found.load_cert_chain(*own)
    return found


@contextmanager
def serving_tls(
    folder: Path, block: str, certificate: tuple[Path, Path], client: ssl.SSLContext, **more: str
) -> Iterator[Server]:
    """Run the page's command, with the files that the test has made in the place of its own."""
    files = dict(zip(("server.pem", "server.key"), map(str, certificate), strict=True)) | more
    words = [files.get(word, word) for word in shlex.split(block)]
    assert words[:2] == ["bentoml", "serve"]
    command = [*SERVE, *words[2:]]
    server = start(folder, command, ROOT, {"FASHION_DEVICE": "cpu"})

    def ready() -> bool:
        assert server.process.poll() is None, server.log()
        with suppress(httpx.TransportError):  # it listens before a worker is there
            return httpx.get(f"{address(server)}/readyz", verify=client).is_success
        return False

    try:
        wait_until(ready, server, 120)
        yield server
    finally:
        server.stop()


def address(server: Server) -> str:
    return server.url.replace("http:", "https:")


def test_a_client_that_trusts_the_authority_gets_its_answer(
    authority: Authority,
    certificate: tuple[Path, Path],
    ankle_boot: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    trusted = context(authority)
    with serving_tls(tmp_path, SIMPLE, certificate, trusted) as server:
        with httpx.Client(base_url=address(server), verify=trusted) as client:
            answer = client.post("/classify", files={"image": encode(ankle_boot)})
            version = answer.extensions["network_stream"].get_extra_info("ssl_object").version()
        assert answer.json()["label"] == "Ankle boot"
        assert version == "TLSv1.3"
        older = context(authority)
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"{address(server)}/livez", verify=older).status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{address(server)}/livez", verify=ssl.create_default_context())
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/livez")


def test_only_clients_with_a_certificate_of_the_authority_get_in(
    authority: Authority, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    known = context(authority, authority.sign("client", "clientAuth"))
    folder = tmp_path / "another"
    folder.mkdir()
    forged = context(authority, Authority(folder, "another").sign("client", "clientAuth"))
    clients = {"clients.pem": str(authority.certificate)}
    with serving_tls(tmp_path, MUTUAL, certificate, known, **clients) as server:
        url = f"{address(server)}/livez"
        assert httpx.get(url, verify=known).status_code == 200
        for stranger in (context(authority), forged):
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=stranger)


def test_a_client_that_half_closes_gets_its_answer_or_a_clean_end(
    authority: Authority, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """TLS over asyncio has no half-close: the connection ends, without an error in the log."""
    with serving_tls(tmp_path, SIMPLE, certificate, context(authority)) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port), 30) as connection,
            context(authority).wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            socket.socket.shutdown(secured, socket.SHUT_WR)
            with suppress(ConnectionError, ssl.SSLError):
                while secured.recv(4096):
                    pass
        assert httpx.get(f"{address(server)}/livez", verify=context(authority)).is_success
        assert "eof_received" not in server.log()
        assert "Traceback" not in server.log()
