"""docs/your_own_network.md, followed to the letter."""

import shlex
from pathlib import Path

import onnx
import pytest

from export.__main__ import main
from tests.pages import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_network.md").read_text(encoding="utf-8")


def test_the_page_makes_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    training, in_memory = blocks(PAGE, "python")
    exec(compile(training, "docs/your_own_network.md", "exec"), names)  # noqa: S102
    (command,) = blocks(PAGE, "sh")
    python, flag, module, *arguments = shlex.split(command.replace("\\\n", " "))
    assert (python, flag, module) == ("python", "-m", "export")
    assert main(arguments) == 0
    assert "20 batch norms folded, 0 left as affine maps" in capsys.readouterr().out
    exec(compile(in_memory, "docs/your_own_network.md", "exec"), names)  # noqa: S102
    first, second = (onnx.load(f"models/{name}/model.onnx") for name in ("resnet", "mine"))
    assert first.graph == second.graph


def test_every_key_of_the_metadata_stands_in_the_table() -> None:
    for key in ("name", "version", "labels", "preprocessing", "golden_samples", "provenance"):
        assert f"`{key}`" in PAGE
