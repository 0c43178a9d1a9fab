"""The commands and the code of docs/your_own_network.md, run in order."""

import shlex
import sys
import warnings
from pathlib import Path

import onnx
import pytest

from export.__main__ import main as export
from service.runtime.onnx_model import open_model
from tests.pages import blocks
from training.__main__ import main as training

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_network.md").read_text(encoding="utf-8")


def test_the_page_makes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names: dict[str, object] = {"__name__": "page"}
    resnets, module, flowers, shapes, in_memory, foreign = blocks(PAGE, "python")
    resnet, flower, shape, seal = blocks(PAGE, "sh")
    run(resnets, names)
    assert "20 batch norms folded, 0 left as affine maps" in said(resnet, capsys)
    (tmp_path / "flowers.py").write_text(module)
    run(flowers, names)
    assert "1 batch norms folded, 0 left as affine maps" in said(flower, capsys)
    run(shapes, names)
    assert "proved equal; wrote models/shapes/model.onnx" in said(shape, capsys)
    run(in_memory, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's: it is the older of its two exporters
        run(foreign, names)
    assert said(seal, capsys).endswith("sealed; wrote models/sealed/model.onnx\n")
    files = {path.parent.name: path for path in (tmp_path / "models").glob("*/model.onnx")}
    assert onnx.load(files["flowers"]).graph == onnx.load(files["mine"]).graph
    labels = {}
    for name, path in files.items():
        served = open_model(path.read_bytes(), "cpu", 64)
        assert served.name == {"mine": "classifier", "shapes": "fashion_lenet"}.get(name, name)
        labels[name] = served.labels
    assert labels["flowers"] == ("daisy", "rose", "tulip")
    assert labels["shapes"] == ("top", "middle", "bottom")


def run(block: str, names: dict[str, object]) -> None:
    exec(compile(block, "docs/your_own_network.md", "exec"), names)  # noqa: S102


PROGRAMS = {"export": export, "training": training}


def said(block: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the commands of a block print."""
    for command in block.replace("\\\n", " ").splitlines():
        python, flag, program, *arguments = shlex.split(command)
        assert (python, flag) == ("python", "-m")
        assert PROGRAMS[program](arguments) == 0
    return capsys.readouterr().out


def test_every_key_of_the_metadata_stands_in_the_table() -> None:
    sealed = onnx.load(
        Path(__file__).parents[2] / "models" / "fashion_lenet" / "model.onnx"
    ).metadata_props
    for key in ("preprocessing", *(entry.key for entry in sealed)):
        assert f"`{key}`" in PAGE
