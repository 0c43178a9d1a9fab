"""compose.yaml as a file; tests/container reads it with a program."""

import re
from typing import Any

import pytest
import yaml

from service.settings import ServiceSettings
from tests.deploy.programs import DEPLOY
from tests.serving import ROOT

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
    mounts = [
        re.sub(r"\$\{\w+:-(.+?)\}", r"\1", mount).split(":")
        for service in SERVICES.values()
        for mount in service.get("volumes", ())
    ]
    assert {source for source, *_ in mounts if source[0] != "."} == named
    folders = {target: DEPLOY / source for source, target, *_ in mounts if source[0] == "."}
    for path in (
        "/etc/prometheus/prometheus.yml",  # where its image looks
        environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"],
        f"{environment('fashion')['FASHION_MODELS']}/fashion_lenet/model.onnx",
    ):
        (place,) = [place for place in folders if str(path).startswith(f"{place}/")]
        assert (folders.pop(place) / str(path).removeprefix(f"{place}/")).is_file()
    assert not folders


def environment(name: str) -> dict[str, str | None]:
    """A service's variables; None for what the shell has."""
    settings = [setting.partition("=") for setting in SERVICES[name]["environment"]]
    return {variable: value if sign else None for variable, sign, value in settings}


def test_each_setting_can_be_made_and_none_that_there_is_not() -> None:
    """But for where the models are mounted and where Prometheus asks."""
    passed = {name: value for name, value in environment("fashion").items() if "FASHION" in name}
    known = {f"FASHION_{name.upper()}" for name in ServiceSettings.model_fields}
    assert set(passed) == known
    assert {name for name, value in passed.items() if value is not None} == {
        *("FASHION_MODELS", "FASHION_GRPC_PORT", "FASHION_METRICS_PORT", "FASHION_ACCESS_LOG")
    }
    assert passed["FASHION_ACCESS_LOG"] == "${FASHION_ACCESS_LOG:-json}"


def test_what_opentelemetry_is_told_is_passed_on() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    passed = {name for name in environment("fashion") if name.startswith("OTEL_")}
    assert passed == set(re.findall(r"OTEL_[A-Z_]+[A-Z]", page))


@pytest.mark.parametrize("name", SERVICES)
def test_no_log_fills_the_disk(name: str) -> None:
    options = SERVICES[name]["logging"]["options"]
    assert set(options) == {"max-size", "max-file"}


def test_only_the_service_is_open_to_others() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items()}
    assert ports.pop("fashion") == ["${PORT:-3000}:3000", "${GRPC_PORT:-8001}:8001"]
    assert all(port.startswith("127.0.0.1:") for opened in ports.values() for port in opened)
