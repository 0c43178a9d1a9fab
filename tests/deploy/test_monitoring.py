"""The Prometheus Operator's objects: known fields only, the rules, and a port to scrape."""

from typing import Any

import pytest
import yaml
from jsonschema_rs import Draft202012Validator

from tests.deploy.manifests import KUBERNETES, Manifest, built, pod, variables
from tests.deploy.programs import DEPLOY

MONITORING = KUBERNETES / "monitoring"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())

STRING, MAP = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m|h|d|w|y)$"}


def exactly(**properties: Any) -> dict[str, Any]:
    """The schema of an object that may have these properties and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        **exactly(
            apiVersion={"const": "monitoring.coreos.com/v1"},
            kind={"const": kind},
            metadata=exactly(name=STRING, namespace=STRING, labels=MAP, annotations=MAP),
            spec=spec,
        ),
        "required": ["apiVersion", "kind", "metadata", "spec"],
    }


def items(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": schema}


# Of prometheus-operator's API reference (monitoring.coreos.com/v1), the fields that one may want.
RULE = exactly(
    **{"record": STRING, "alert": STRING, "expr": STRING, "for": DURATION},
    **{"keep_firing_for": DURATION, "labels": MAP, "annotations": MAP},
)
SCHEMAS = {
    "PrometheusRule": resource(
        "PrometheusRule",
        exactly(groups=items(exactly(name=STRING, interval=DURATION, rules=items(RULE)))),
    ),
    "ServiceMonitor": resource(
        "ServiceMonitor",
        exactly(
            jobLabel=STRING,
            selector=exactly(matchLabels=MAP),
            namespaceSelector=exactly(any={"type": "boolean"}, matchNames=items(STRING)),
            endpoints=items(
                exactly(
                    **{"port": STRING, "path": STRING, "interval": DURATION},
                    relabelings=items(
                        exactly(
                            **{"sourceLabels": items(STRING), "targetLabel": STRING},
                            **{"regex": STRING, "replacement": STRING, "action": STRING},
                        )
                    ),
                )
            ),
        ),
    ),
}


def monitoring() -> dict[str, Manifest]:
    manifests = [yaml.safe_load(path.read_text()) for path in MONITORING.iterdir()]
    return {manifest["kind"]: manifest for manifest in manifests}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_resource_has_fields_of_its_kind_alone(kind: str) -> None:
    assert set(monitoring()) == set(SCHEMAS)
    manifest = monitoring()[kind]
    Draft202012Validator(SCHEMAS[kind]).validate(manifest)
    manifest["spec"]["group"] = []
    assert not Draft202012Validator(SCHEMAS[kind]).is_valid(manifest)


def test_the_operators_rules_are_prometheuss() -> None:
    assert monitoring()["PrometheusRule"]["spec"] == RULES


def test_the_services_that_are_scraped_have_that_port_and_that_label() -> None:
    spec = monitoring()["ServiceMonitor"]["spec"]
    (endpoint,) = spec["endpoints"]
    manifests = built("deployment/cpu")
    service = manifests["Service"]
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = [p for p in service["spec"]["ports"] if p["name"] == endpoint["port"]]
    (container,) = pod(manifests)["containers"]
    (found,) = [p for p in container["ports"] if p["name"] == port["targetPort"]]
    assert str(found["containerPort"]) == variables(container)["FASHION_METRICS_PORT"]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_kserves_service_will_have_that_port_and_that_label(device: str) -> None:
    """It is made of the InferenceService's labels and of all its container's ports."""
    spec = monitoring()["ServiceMonitor"]["spec"]
    manifests = built(f"kserve/{device}")
    labels = manifests["InferenceService"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pod(manifests)["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports[spec["endpoints"][0]["port"]] == variables(container)["FASHION_METRICS_PORT"]
    assert container["ports"][0]["containerPort"] == 3000, "requests go to the first"


def test_its_job_is_the_one_that_the_rules_name() -> None:
    (endpoint,) = monitoring()["ServiceMonitor"]["spec"]["endpoints"]
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = scraping["scrape_configs"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job["job_name"]}]
    assert endpoint["interval"] == scraping["global"]["scrape_interval"]
