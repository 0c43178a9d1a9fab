"""The commands and the code of docs/your_own_network.md, run in order."""

import shlex
import sys
import warnings
from pathlib import Path

import onnx
import pytest

from export.__main__ import main
from service.runtime.onnx_model import open_model
from tests.pages import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_network.md").read_text(encoding="utf-8")


def test_the_page_makes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: dict[str, object] = {"__name__": "page"}
    training, module, flowers, in_memory, foreign = blocks(PAGE, "python")
    commands = blocks(PAGE, "sh")
    run(training, names)
    assert "20 batch norms folded, 0 left as affine maps" in export(commands[0], capsys)
    (tmp_path / "flowers.py").write_text(module)
    run(flowers, names)
    assert "1 batch norms folded, 0 left as affine maps" in export(commands[1], capsys)
    run(in_memory, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's: it is the older of its two exporters
        run(foreign, names)
    assert export(commands[2], capsys).endswith("sealed; wrote models/sealed/model.onnx\n")
    files = {path.parent.name: path for path in (tmp_path / "models").glob("*/model.onnx")}
    assert onnx.load(files["resnet"]).graph == onnx.load(files["mine"]).graph
    for name, path in files.items():
        served = open_model(path.read_bytes(), "cpu", 64)
        assert (served.name, len(served.labels)) == ("classifier" if name == "mine" else name, 3)
    assert open_model(files["flowers"].read_bytes(), "cpu", 64).labels == ("daisy", "rose", "tulip")


def run(block: str, names: dict[str, object]) -> None:
    exec(compile(block, "docs/your_own_network.md", "exec"), names)  # noqa: S102


def export(block: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command of the page prints."""
    python, flag, module, *arguments = shlex.split(block.replace("\\\n", " "))
    assert (python, flag, module) == ("python", "-m", "export")
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_every_key_of_the_metadata_stands_in_the_table() -> None:
    sealed = onnx.load(
        Path(__file__).parents[2] / "models" / "fashion_lenet" / "model.onnx"
    ).metadata_props
    for key in ("preprocessing", *(entry.key for entry in sealed)):
        assert f"`{key}`" in PAGE
