"""A folder of models of different labels, shapes and versions, one of them broken."""

import json
from pathlib import Path

from tests.service.models import metadata, with_wrong_golden_samples, write_model
from tests.service.networks import Network

LABELS = json.loads(metadata()["labels"])
OTHER_LABELS = [label.upper() for label in LABELS]
COLOUR = Network("colour", (3, 6, 8), 3)


def add_model(folder: Path, name: str, version: str = "1.0.0", labels: list[str] = LABELS) -> Path:
    """Write the released model under another name; its metadata keeps the old one."""
    path = folder / name / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    return write_model(new, version=version, labels=json.dumps(labels)).replace(path)


def write_models(folder: Path) -> Path:
    """Write `first`, `second` in versions 2 and 10, `colour` of another shape, and `broken`."""
    add_model(folder, "first")
    for version in ("2", "10"):
        add_model(folder / "second", version, labels=OTHER_LABELS)
    for name in ("colour", "broken"):
        (folder / name).mkdir()
    COLOUR.write(folder / "colour" / "model.onnx")
    with_wrong_golden_samples(folder / "broken" / "model.onnx")
    (folder / "..data").mkdir()  # as Kubernetes has in a volume
    (folder / "..data" / "model.onnx").touch()
    (folder / "notes.txt").touch()
    return folder
