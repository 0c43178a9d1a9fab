"""Networks and their files, made once."""

from pathlib import Path

import onnx
import pytest

from tests.export.verification.networks import NETWORKS, export_by_torch, trained


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """torch.onnx's file of each network, batch norms folded by it."""
    folder = tmp_path_factory.mktemp("files")
    return {name: export_by_torch(trained(name), folder / f"{name}.onnx") for name in NETWORKS}


@pytest.fixture
def residual_file(files: dict[str, Path]) -> onnx.ModelProto:
    return onnx.load(files["residual"])
