"""The released model with something changed in its metadata."""

import json
from pathlib import Path

import onnx

from service.settings import RELEASED_MODEL


def metadata() -> dict[str, str]:
    """The released model's own."""
    return {entry.key: entry.value for entry in onnx.load(RELEASED_MODEL).metadata_props}


def write_model(path: Path, **changes: str | None) -> Path:
    """Write the released model with pieces of metadata changed, or (None) taken out."""
    model = onnx.load(RELEASED_MODEL)
    changed = {**metadata(), **changes}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: v for k, v in changed.items() if v is not None})
    path.write_bytes(model.SerializeToString())
    return path


def with_wrong_golden_samples(path: Path, error: float = 0.5) -> Path:
    """Write the released model as one whose first golden logit is off."""
    golden = json.loads(metadata()["golden_samples"])
    golden["logits"][0][0] += error
    return write_model(path, golden_samples=json.dumps(golden))
