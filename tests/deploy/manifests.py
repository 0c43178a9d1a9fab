"""The Kubernetes manifests, as files and as kustomize builds them."""

import warnings
from functools import cache
from typing import Any

import yaml

from tests.deploy.programs import DEPLOY, program, run

KUBERNETES = DEPLOY / "kubernetes"
BASES = ("deployment", "kserve")
OVERLAYS = [f"{base}/{device}" for base in BASES for device in ("cpu", "gpu")]
MODELS = [f"{base}/models" for base in BASES]  # of the CPU, with models on a volume

Manifest = dict[str, Any]


@cache
def built(overlay: str) -> dict[str, Manifest]:
    """The objects of an overlay, by their kinds; skips the test where there is no kubectl."""
    text = run(program("kubectl"), "kustomize", KUBERNETES / overlay)
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def written(base: str) -> list[Manifest]:
    """The objects that a base lists."""
    folder = KUBERNETES / base / "base"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [yaml.safe_load((folder / name).read_text()) for name in listed]


def pod(manifests: dict[str, Manifest]) -> Manifest:
    """What runs."""
    found: Manifest
    if "Deployment" in manifests:
        found = manifests["Deployment"]["spec"]["template"]["spec"]
    else:
        found = manifests["InferenceService"]["spec"]["predictor"]
    return found


def variables(container: Manifest) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def validate(manifest: Manifest) -> None:
    """Against the schemas of the newest Kubernetes that the package has; no unknown field."""
    with warnings.catch_warnings():  # it uses what its libraries have given up
        warnings.simplefilter("ignore", DeprecationWarning)
        import kubernetes_validate

        kubernetes_validate.validate(manifest, "1.37", strict=True)
