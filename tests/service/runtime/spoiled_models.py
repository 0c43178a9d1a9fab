"""Models that are not served, and the error that says why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from service.errors import ModelError
from service.runtime.onnx_model import load_model
from service.settings import RELEASED_MODEL, ServiceSettings
from tests.service.models import metadata


def settings(model: Path = RELEASED_MODEL) -> ServiceSettings:
    return ServiceSettings(device="cpu", model=model)


def golden(**changes: Any) -> str:
    return json.dumps(json.loads(metadata()["golden_samples"]) | changes)


def refused(path: Path) -> str:
    """Return the error for a model that cannot be served, which must be one line."""
    with pytest.raises(ModelError) as caught:
        load_model(settings(path))
    (line,) = str(caught.value).splitlines()
    return line


def spoiled(folder: Path, spoil: Callable[[onnx.ModelProto], None]) -> Path:
    """Write the released model with something changed in its graph."""
    model = onnx.load(RELEASED_MODEL)
    spoil(model)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def rename_the_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "img"
