"""The facts that `info` shows about models and their runtime."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import onnxruntime as ort

from service.runtime.onnx_model import OnnxModel
from service.signature import ImageSpec

PACKAGES = ("bentoml", "numpy", "pillow")


def describe_model(path: Path, model: OnnxModel) -> dict[str, str]:
    """Return the facts about a model that was loaded from `path`, by name."""
    return {
        "model": f"{model.name} {model.version}",
        "path": str(path.resolve()),
        "sha256": model.sha256,
        "input": _input(model.signature.image),
        "labels": model.signature.label_list,
        **_provenance(model),
        "device": f"{model.device} ({model.execution_provider})",
    }


def describe_runtime() -> dict[str, str]:
    """Return the versions of what runs the models."""
    return {
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        **{package: version(package) for package in PACKAGES},
    }


def _input(spec: ImageSpec) -> str:
    pipeline = spec.pipeline if spec.resize is None else f"{spec.pipeline} of {spec.resize}"
    return f"uint8, N x {spec}; pictures by {pipeline}"


def _provenance(model: OnnxModel) -> dict[str, str]:
    """Return the training facts in the model's metadata; serving does not need them."""
    text = model.session.get_modelmeta().custom_metadata_map.get("provenance", "{}")
    try:
        provenance = dict(json.loads(text))
    except (TypeError, ValueError):
        return {"provenance": text}
    return {name: value for name, value in provenance.items() if isinstance(value, str)}
