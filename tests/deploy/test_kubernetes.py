"""The manifests compared with Kubernetes's and KServe's schemas, each other, and the service."""

import copy
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from starlette.routing import Match, Route

from service.oip import rest_routes
from service.rest import health
from service.runtime.loading import LOAD_SECONDS
from service.settings import ServiceSettings
from tests.deploy.manifests import (
    BASES,
    KUBERNETES,
    MODELS,
    OVERLAYS,
    Manifest,
    built,
    pod,
    validate,
    variables,
    written,
)
from tests.serving import ROOT

KSERVE = ROOT / ".venv" / "kserve" / "bin" / "python"
KSERVE_MODELS = Path(__file__).with_name("kserve_models.py")
CPU = "deployment/cpu"
ROUTES = [*health.ROUTES, *rest_routes.ROUTES]


@pytest.mark.parametrize("manifest", written("deployment"), ids=lambda manifest: manifest["kind"])
def test_kubernetes_takes_what_is_written(manifest: Manifest) -> None:
    validate(manifest)


@pytest.mark.parametrize("overlay", [*OVERLAYS[:2], MODELS[0]])
def test_kubernetes_takes_what_is_built(overlay: str) -> None:
    manifests = built(overlay)
    assert len(manifests) == len(written("deployment"))
    for manifest in manifests.values():
        validate(manifest)


def test_a_field_that_does_not_exist_is_found() -> None:
    (deployment,) = (found for found in written("deployment") if found["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(Exception, match="terminationGracePeriod"):
        validate(deployment)


def test_kserve_takes_what_is_built_and_not_everything() -> None:
    (broken,) = written("kserve")
    broken["spec"]["predictor"]["containers"][0]["port"] = 3000
    broken["spec"]["predictor"]["minReplicas"] = "2"
    good = [built(overlay)["InferenceService"] for overlay in (*OVERLAYS[2:], MODELS[1])]
    *none, found = kserve_faults([*good, broken])
    assert none == [[]] * len(good)
    assert sorted(found) == [
        "$.spec.predictor.containers[0].port is not known",
        "$.spec.predictor.minReplicas is '2', int is right",
    ]


def kserve_faults(manifests: list[Manifest]) -> list[list[str]]:
    """The errors that KServe's models find in each; importing them takes long."""
    if not KSERVE.exists():
        pytest.skip("KServe's environment is made by `make test`")
    done = subprocess.run(
        [KSERVE, KSERVE_MODELS],
        input=yaml.safe_dump_all(manifests),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("base", BASES)
def test_each_file_of_a_base_is_listed(base: str) -> None:
    folder = KUBERNETES / base / "base"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(p.name for p in folder.iterdir())


def test_all_speak_of_the_same_pods() -> None:
    manifests = {manifest["kind"]: manifest["spec"] for manifest in written("deployment")}
    labels = manifests["Deployment"]["template"]["metadata"]["labels"]
    spread = manifests["Deployment"]["template"]["spec"]["topologySpreadConstraints"]
    assert manifests["Service"]["selector"] == labels
    assert manifests["NetworkPolicy"]["podSelector"]["matchLabels"] == labels
    assert manifests["PodDisruptionBudget"]["selector"]["matchLabels"] == labels
    assert manifests["Deployment"]["selector"]["matchLabels"] == labels
    assert [constraint["labelSelector"]["matchLabels"] for constraint in spread] == [labels] * 2


def test_the_autoscaler_has_a_deployment_and_a_metric() -> None:
    manifests = {manifest["kind"]: manifest for manifest in written("deployment")}
    scaler = manifests["HorizontalPodAutoscaler"]["spec"]
    target = scaler["scaleTargetRef"]
    deployment = manifests["Deployment"]
    assert target["name"] == deployment["metadata"]["name"]
    assert (target["kind"], target["apiVersion"]) == ("Deployment", deployment["apiVersion"])
    assert "replicas" not in deployment["spec"], "the autoscaler's number would be overwritten"
    (metric,) = scaler["metrics"]
    values = yaml.safe_load((KUBERNETES / "prometheus_adapter.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == metric["pods"]["metric"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_is_sent_to_the_port_that_needs_no_key(overlay: str) -> None:
    manifests = built(overlay)
    (container,) = pod(manifests)["containers"]
    if "InferenceService" in manifests:
        annotations = manifests["InferenceService"]["metadata"]["annotations"]
        assert annotations["serving.kserve.io/enable-prometheus-scraping"] == "true"
        found = annotations["prometheus.kserve.io/port"], annotations["prometheus.kserve.io/path"]
    else:
        annotations = manifests["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        found = annotations["prometheus.io/port"], annotations.get("prometheus.io/path", "/metrics")
    assert found == (variables(container)["FASHION_METRICS_PORT"], "/metrics")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_container_is_confined(overlay: str) -> None:
    """As Kubernetes's Pod Security Standard `restricted` requires, and read-only."""
    running = pod(built(overlay))
    (container,) = running["containers"]
    assert running["securityContext"]["runAsNonRoot"] is True
    assert running["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert running["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        variables(container)["BENTOML_HOME"],
        "/tmp",  # noqa: S108 (a path in the container)
    }
    assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_device_has_its_image(overlay: str) -> None:
    (container,) = pod(built(overlay))["containers"]
    device = "cuda" if overlay.endswith("gpu") else "cpu"
    assert container["image"] == f"fashion-lenet-bn:{device}"
    assert variables(container)["FASHION_DEVICE"] == device
    gpus = container["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == ("1" if device == "cuda" else None)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_start_with_cuda_has_its_time(overlay: str) -> None:
    (container,) = pod(built(overlay))["containers"]
    probe = container["startupProbe"]
    seconds = probe["periodSeconds"] * probe["failureThreshold"]
    assert seconds == (180 if overlay.endswith("gpu") else 60)
    assert "--start-period=180s" in (ROOT / "deploy" / "container" / "Dockerfile").read_text()
    assert not overlay.endswith("gpu") or seconds > LOAD_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_is_told_what_it_can_be_told(overlay: str) -> None:
    (container,) = pod(built(overlay))["containers"]
    told = {name for name in variables(container) if name.startswith("FASHION_")}
    known = {f"FASHION_{name.upper()}" for name in ServiceSettings.model_fields}
    assert told <= known | {"FASHION_API_KEY"}
    assert variables(container)["BENTOML_DO_NOT_TRACK"] == "True"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_time_to_drain_and_to_finish(overlay: str) -> None:
    running = pod(built(overlay))
    (container,) = running["containers"]
    draining = float(variables(container)["FASHION_DRAIN_SECONDS"])
    readiness = container["readinessProbe"]
    assert draining > readiness["periodSeconds"] * readiness["failureThreshold"]
    longest: float = ServiceSettings.model_fields["timeout_seconds"].default
    assert running["terminationGracePeriodSeconds"] > draining + longest


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_what_the_service_answers(overlay: str, probe: str) -> None:
    (container,) = pod(built(overlay))["containers"]
    asked = container[probe]["httpGet"]
    port = container["ports"][0]  # where it answers; a second has the metrics
    assert asked["port"] in (port["name"], port["containerPort"])
    assert any(matches(route, asked["path"]) for route in ROUTES)


def test_readiness_is_the_models_own() -> None:
    paths = [
        container["readinessProbe"]["httpGet"]["path"]
        for overlay in (CPU, "kserve/cpu")
        for container in pod(built(overlay))["containers"]
    ]
    assert paths == ["/readyz", "/v2/models/fashion_lenet/ready"]


def matches(route: Route, path: str) -> bool:
    scope = {"type": "http", "path": path, "method": "GET", "path_params": {}}
    return route.matches(scope)[0] is Match.FULL


@pytest.mark.parametrize(("overlay", "plain"), [*zip(MODELS, OVERLAYS[::2], strict=True)])
def test_models_come_from_a_volume(overlay: str, plain: str) -> None:
    """But for the volume, and a probe that names no model, the pods are the same."""
    running, before = copy.deepcopy(pod(built(overlay))), pod(built(plain))
    (container,) = running["containers"]
    assert variables(container)["FASHION_MODELS"] == "/models"
    mount, volume = container["volumeMounts"].pop(), running["volumes"].pop()
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    container["env"].pop()
    assert "fashion_lenet" not in container["readinessProbe"]["httpGet"]["path"]
    container["readinessProbe"] = before["containers"][0]["readinessProbe"]
    assert running == before
