"""docs/folding.md: its code runs, and its commands name what there is."""

import re
from pathlib import Path

import pytest

from export.settings import ExportSettings
from training.command_line import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "folding.md").read_text(encoding="utf-8")
PYTHON = ".venv/dev/bin/python -m "


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_code_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    exec(compile(code, "docs/folding.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("Cast Conv Sigmoid AveragePool Conv")


def test_the_commands_name_what_there_is() -> None:
    export, pytest_command = (block.strip() for block in blocks("sh"))
    program, *arguments = export.removeprefix(PYTHON).split()
    assert program == "export"
    settings = parse(ExportSettings, arguments)
    assert (ROOT / settings.checkpoint).is_file()
    assert settings.data is not None
    assert (ROOT / settings.data / "t10k-images-idx3-ubyte.gz").is_file()
    assert pytest_command == f"{PYTHON}pytest tests/export"


def test_the_files_it_names_are_there() -> None:
    names = re.findall(r"`((?:export|tests)/[\w/]+\.py)`", PAGE)
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []
