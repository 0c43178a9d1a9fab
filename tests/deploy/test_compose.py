"""compose.yaml: read as it stands, and by Docker Compose or Podman's where there is one."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.programs import DEPLOY, program, run

PATH = DEPLOY / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(PATH.read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"network_mode", "privileged", "pid", "ipc", "devices"} & set(service)
    assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_of_one_version(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert tag == "cpu" if name == "fashion" else re.fullmatch(r"v?\d+\.\d+\.\d+", tag)


def test_what_is_mounted_is_there() -> None:
    named = set(yaml.safe_load(PATH.read_text())["volumes"])
    sources = [
        mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())
    ]
    assert {source for source in sources if not source.startswith("./")} == named
    folders = [DEPLOY / source for source in sources if source.startswith("./")]
    assert folders == [DEPLOY / "prometheus", DEPLOY / "grafana"]
    assert all(folder.is_dir() for folder in folders)
    assert (DEPLOY / "prometheus" / "prometheus.yml").is_file()  # where its image looks
    home = {name: value for name, _, value in map(partitioned, SERVICES["grafana"]["environment"])}[
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    ]
    assert (DEPLOY / "grafana" / home.removeprefix("/etc/grafana/provisioning/")).is_file()


def partitioned(setting: str) -> tuple[str, str, str]:
    return setting.partition("=")


def test_only_the_service_is_open_to_others() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items()}
    assert ports.pop("fashion") == ["${FASHION_PORT:-3000}:3000"]
    assert all(port.startswith("127.0.0.1:") for opened in ports.values() for port in opened)


def compose() -> list[str]:
    """Docker Compose, or else Podman's; skips the test where there is neither."""
    docker = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*docker, "version"], check=False).returncode == 0:
        return docker
    return [program("podman-compose")]


def test_a_compose_program_takes_it() -> None:
    printed = run(*compose(), "-f", PATH, "config")
    assert all(service["image"] in printed for service in SERVICES.values())
