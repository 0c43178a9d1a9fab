"""deploy/, the documentation and the code agree with each other."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import ServiceSettings
from tests.deploy.manifests import (
    KUBERNETES,
    MODELS,
    OVERLAYS,
    Manifest,
    built,
    pod,
    validate,
    variables,
)
from tests.deploy.programs import DEPLOY
from tests.serving import ROOT

DOCKERFILE = (DEPLOY / "container" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
INGRESS: Manifest = yaml.safe_load((KUBERNETES / "ingress.yaml").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
TEXTS = [
    *(path for path in DEPLOY.rglob("*") if path.is_file()),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
]


def image() -> dict[str, str]:
    """The environment variables of the image."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(block.replace("\\\n", " ")))


def compose() -> dict[str, str]:
    """Those that Compose gives the service."""
    pairs = [line.partition("=")[::2] for line in COMPOSE["fashion"]["environment"]]
    return dict(pairs)


@cache
def containers() -> list[Manifest]:
    """The container of each overlay of Kubernetes and KServe."""
    return [pod(built(overlay))["containers"][0] for overlay in OVERLAYS]


def documented_run() -> list[str]:
    """The words of the `docker run` that the documentation has."""
    (text,) = re.findall(r"^docker (run .*)$", OPERATIONS, re.MULTILINE)
    return shlex.split(text)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_setting_that_is_named_is_one(path: Path) -> None:
    known = {f"FASHION_{name.upper()}" for name in ServiceSettings.model_fields}
    known |= {"FASHION_MNIST_DIR"}  # where training finds the data set
    assert set(re.findall(r"\bFASHION_[A-Z][A-Z_]*[A-Z]\b", path.read_text())) <= known


def test_the_table_of_settings_has_each_and_its_default() -> None:
    rows = re.findall(r"^\| `(FASHION_\w+)` \| (.+?) \|", OPERATIONS, re.MULTILINE)
    fields = ServiceSettings.model_fields
    assert {name for name, _ in rows} == {f"FASHION_{name.upper()}" for name in fields}
    for name, shown in rows:
        default = fields[name.removeprefix("FASHION_").lower()].default
        if shown in ("none", "measured"):
            assert not default, name
        else:
            text = str(ServiceSettings.model_validate({}).model_dump()[name[8:].lower()])
            text = text.lower() if isinstance(default, bool) else text
            assert text.removesuffix(".0").endswith(shown.strip("`")), name


def test_the_service_has_one_port() -> None:
    port = image()["PORT"]
    assert re.findall(r"^EXPOSE (\d+) 8001$", DOCKERFILE, re.MULTILINE) == [port]
    assert COMPOSE["fashion"]["ports"][0] == f"${{PORT:-{port}}}:{port}"
    assert {str(container["ports"][0]["containerPort"]) for container in containers()} == {port}
    assert f"{port}:{port}" in documented_run()
    assert f"on port {port}" in OPERATIONS


def test_grpc_has_one_port() -> None:
    port = compose()["FASHION_GRPC_PORT"]
    assert COMPOSE["fashion"]["ports"][1] == f"${{GRPC_PORT:-{port}}}:{port}"
    assert f"FASHION_GRPC_PORT={port} bentoml serve" in OPERATIONS
    deployment = pod(built(KUBERNETES / "deployment" / "cpu"))["containers"][0]
    assert variables(deployment)["FASHION_GRPC_PORT"] == port
    assert {"name": "grpc", "containerPort": int(port)} in deployment["ports"]


def test_metrics_have_one_port() -> None:
    port = compose()["FASHION_METRICS_PORT"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())[
        "scrape_configs"
    ]
    assert job["static_configs"] == [{"targets": [f"fashion:{port}"]}]
    assert {variables(container)["FASHION_METRICS_PORT"] for container in containers()} == {port}
    assert {str(container["ports"][1]["containerPort"]) for container in containers()} == {port}
    assert f"on port {port}" in OPERATIONS


def test_dashboard_rules_and_autoscaler_ask_for_metrics_that_there_are() -> None:
    """By name; `test_prometheus` runs all of them."""
    table = dict(re.findall(r"^\| `(fashion_\w+)` \| (\w+) \|", OPERATIONS, re.MULTILINE))
    parts = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
    known = {name + part for name, kind in table.items() for part in parts[kind]}
    files = [
        *(DEPLOY / "grafana" / "dashboards" / "fashion_lenet.json",),
        *(DEPLOY / "prometheus" / "rules.yml", KUBERNETES / "prometheus_adapter.yaml"),
    ]
    for path in files:
        asked = set(re.findall(r"(?<![\w:/])fashion_\w+(?![\w:.])", path.read_text()))
        assert asked
        assert asked <= known, path


def test_all_run_as_one_user() -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"--[ug]id (\d+)", DOCKERFILE) == [user] * 3
    for overlay in OVERLAYS:
        context = pod(built(overlay))["securityContext"]
        assert [context[f"runAs{of}"] for of in ("User", "Group")] == [int(user)] * 2
        assert context["fsGroup"] == int(user)
    assert f"The user is {user}" in OPERATIONS


def test_bentoml_writes_to_one_place_that_is_writable() -> None:
    place = image()["BENTOML_HOME"]
    assert compose()["BENTOML_HOME"] == place
    assert COMPOSE["fashion"]["tmpfs"] == ["/tmp", place]  # noqa: S108 (in the container)
    assert {variables(container)["BENTOML_HOME"] for container in containers()} == {place}
    words = documented_run()
    assert [words[i + 1] for i, word in enumerate(words) if word == "--tmpfs"] == ["/tmp", place]  # noqa: S108


def test_health_is_asked_for_in_one_place() -> None:
    (asked,) = re.findall(r"^    CMD \[.*\]$", DOCKERFILE, re.MULTILINE)
    assert "/readyz" in asked
    assert "/readyz" in COMPOSE["fashion"]["healthcheck"]["test"][-1]
    assert "health check asks\n`/readyz`" in OPERATIONS


def test_each_way_to_stop_gives_time_to_drain_and_to_finish() -> None:
    fields = ServiceSettings.model_fields
    needed = fields["drain_seconds"].default + fields["timeout_seconds"].default
    words = documented_run()
    assert int(words[words.index("--stop-timeout") + 1]) > needed
    assert int(COMPOSE["fashion"]["stop_grace_period"].removesuffix("s")) > needed


def test_kubernetes_takes_the_ingress() -> None:
    validate(INGRESS)


def test_the_ingress_lets_through_what_the_service_takes() -> None:
    annotations = {
        name.removeprefix("nginx.ingress.kubernetes.io/"): value
        for name, value in INGRESS["metadata"]["annotations"].items()
    }
    fields = ServiceSettings.model_fields
    assert annotations["proxy-body-size"] == f"{fields['max_body_bytes'].default // 2**20}m"
    for name in ("proxy-read-timeout", "proxy-send-timeout"):
        assert int(annotations[name]) > fields["timeout_seconds"].default
    service = built("deployment/cpu")["Service"]
    ((rule,),) = [INGRESS["spec"]["rules"]]
    (path,) = rule["http"]["paths"]
    asked = path["backend"]["service"]
    assert asked["name"] == service["metadata"]["name"]
    assert asked["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_of_deploy_that_is_named_is_there(path: Path) -> None:
    for named in re.findall(r"\bdeploy/[\w/.]*\w", path.read_text()):
        assert (ROOT / named).exists(), named


def test_pods_are_as_many_and_exchanged_as_the_documentation_says() -> None:
    assert "Two pods at least, ten at\nmost" in OPERATIONS
    assert "a rollout ends a pod before the next one starts" in OPERATIONS
    for overlay in OVERLAYS:
        manifests = built(overlay)
        if "Deployment" in manifests:
            replicas = manifests["HorizontalPodAutoscaler"]["spec"]
            strategy = manifests["Deployment"]["spec"]["strategy"]
        else:
            replicas = manifests["InferenceService"]["spec"]["predictor"]
            strategy = replicas["deploymentStrategy"]
        assert (replicas["minReplicas"], replicas["maxReplicas"]) == (2, 10)
        surge, away = (0, 1) if overlay.endswith("gpu") else (1, 0)
        assert strategy["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": away}


def test_the_commands_for_a_cluster_are_of_what_is_built_and_checked_here() -> None:
    built_ones = re.findall(r"kubectl apply -k deploy/kubernetes/(\S+?)[`\s]", OPERATIONS)
    assert built_ones
    assert set(built_ones) <= {*OVERLAYS, *MODELS}
    assert re.findall(r"kubectl apply -f (\S+?)[`\s]", OPERATIONS) == [
        "deploy/kubernetes/monitoring"
    ]


def test_the_commands_for_compose_name_its_file_and_its_service() -> None:
    commands = re.findall(r"^docker compose (.*)$", OPERATIONS, re.MULTILINE)
    assert {tuple(command.split()[:2]) for command in commands} == {("-f", "deploy/compose.yaml")}
    (signalled,) = [command.split() for command in commands if " kill " in command]
    assert signalled[2:5] == ["kill", "-s", "HUP"]
    assert signalled[5] in COMPOSE
    assert compose()["FASHION_MODELS"] == "/models"
