"""What there is to know of a model, and of what runs it."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import onnxruntime as ort

from service.runtime.onnx_model import OnnxModel

PACKAGES = ("bentoml", "numpy", "pillow")


def describe(path: Path, model: OnnxModel) -> dict[str, str]:
    """Name the facts of a model that was loaded from a file."""
    return {
        "model": f"{model.name} {model.version}",
        "path": str(path.resolve()),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "labels": ", ".join(model.labels),
        **_provenance(model),
        "device": f"{model.device} ({model.execution_provider})",
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        **{package: version(package) for package in PACKAGES},
    }


def _provenance(model: OnnxModel) -> dict[str, str]:
    """Read what the model's file says of its training, which serving does without."""
    text = model.session.get_modelmeta().custom_metadata_map.get("provenance", "{}")
    try:
        provenance = dict(json.loads(text))
    except (TypeError, ValueError):
        return {"provenance": text}
    return {name: value for name, value in provenance.items() if isinstance(value, str)}
