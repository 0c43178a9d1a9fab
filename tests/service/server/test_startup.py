"""The start of `bentoml serve`: one line for a failure, and one for what is served."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.server.refused_start import SECONDS, refused
from tests.serving import ROOT, SERVE, Server, start, wait_until

KEY = "starting-key-0123456789"
COMMAND = (str(Path(sys.executable).with_name("bentoml")), "serve")


@pytest.mark.parametrize("command", [COMMAND, SERVE], ids=["bentoml", "python -m bentoml"])
def test_a_port_that_is_none(command: tuple[str, ...], tmp_path: Path) -> None:
    assert "--port is 70000, expected 0 to 65535" in refused(
        tmp_path, "--port", "70000", command=command
    )


def test_a_port_that_is_none_in_the_environment(tmp_path: Path) -> None:
    assert "--port is -1, expected 0 to 65535" in refused(tmp_path, BENTOML_PORT="-1")


def test_a_host_that_is_unknown(tmp_path: Path) -> None:
    line = refused(tmp_path, BENTOML_HOST="unknown.name.invalid")
    assert "--host 'unknown.name.invalid' has no address" in line


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    line = refused(tmp_path, "--host", "192.0.2.1", "--port", "4000")
    assert "cannot listen on 192.0.2.1:4000: Cannot assign requested address" in line


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = refused(tmp_path, "--host", "localhost", "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line


def test_a_port_that_is_not_for_everyone(tmp_path: Path) -> None:
    lowest = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not lowest.exists() or int(lowest.read_text()) <= 80:
        pytest.skip("every port is for everyone here")
    without = ("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    if subprocess.run([*without, "true"], check=False).returncode != 0:
        pytest.skip("rights cannot be given up here")
    line = refused(tmp_path, "--host", "127.0.0.1", "--port", "80", command=(*without, *SERVE))
    assert "cannot listen on 127.0.0.1:80: Permission denied" in line


def test_a_certificate_that_is_missing(tmp_path: Path) -> None:
    line = refused(tmp_path, "--port", "0", "--ssl-certfile", "missing.pem")
    assert "--ssl-certfile missing.pem: No such file or directory" in line


def test_metrics_on_the_port_of_the_service(tmp_path: Path) -> None:
    line = refused(tmp_path, "--port", "4001", FASHION_METRICS_PORT="4001")
    assert "FASHION_METRICS_PORT=4001 is the port of the service" in line


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("FASHION_DEVICE", "g\npu\x1b[2J", "FASHION_DEVICE=g pu\\x1b[2J: Input should be"),
        ("FASHION_MODEL", "/missing/a\nmodel", "cannot read the model /missing/a model: No such"),
    ],
)
def test_a_setting_that_is_wrong(name: str, value: str, reason: str, tmp_path: Path) -> None:
    assert reason in refused(tmp_path, **{name: value})


def said(server: Server, workers: int = 1) -> list[str]:
    """The parent's output until its workers are ready; then the server is stopped."""
    try:
        wait_until(lambda: server.log().count("initialized") == workers, server, SECONDS)
    finally:
        status = server.stop()
    assert status == 0
    return [line for line in server.log().splitlines() if "[cli]" in line]


def test_one_line_says_what_is_served(tmp_path: Path) -> None:
    settings = {
        "FASHION_DEVICE": "cpu",
        "FASHION_WORKERS": "2",
        "FASHION_METRICS_PORT": "",
        "FASHION_MODEL": "",
        "FASHION_MNIST_DIR": "/data",
        "FASHION_LENET_PORT_3000_TCP_ADDR": "10.0.0.7",
        "FASHION_API_KEY": KEY,
    }
    server = start(tmp_path, SERVE, ROOT, settings)
    (line,) = said(server, 2)
    assert line.endswith(
        f"Serving model fashion_lenet 1.1.0 on cpu at {server.url}, with 2 workers and keys; "
        f"to try it: {server.url}/ui (Ctrl+C stops)"
    )


EVERYWHERE = ("bash", "-c", 'exec "$0" -m bentoml serve --host 0.0.0.0 --port 0', sys.executable)


def test_warnings_say_who_gets_in_and_what_is_no_setting(tmp_path: Path) -> None:
    settings = {
        "FASHION_DEVICE": "cpu",
        "FASHION_MAX_CONCURENCY": "5",
        "FASHION_API_KEYS": KEY,  # is not a setting either, and must not be shown
    }
    server = start(tmp_path, EVERYWHERE, ROOT, settings)
    lines = said(server)
    assert KEY not in server.log()
    typos = sorted(line.split(" [cli] ")[1] for line in lines if "is not a setting" in line)
    assert [typo.split()[0] for typo in typos] == ["FASHION_API_KEYS", "FASHION_MAX_CONCURENCY"]
    assert typos[1].endswith("the most similar setting is FASHION_MAX_CONCURRENCY")
    open_to_all, line = (line for line in lines if "is not a setting" not in line)
    url = re.search(r"at (http://localhost:[1-9]\d+) and all interfaces, with 1 worker and", line)
    assert url is not None
    assert f"{url[1]}/ui" in line
    port = url[1].rpartition(":")[2]
    assert f"[WARNING] [cli] 0.0.0.0:{port} can be used without a key" in open_to_all
