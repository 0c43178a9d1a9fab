"""docs/folding.md: its code runs, and its commands and files exist."""

import re
from pathlib import Path

import pytest

from benchmarks.folding_accuracy import cases
from tests.pages import blocks

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "folding.md").read_text(encoding="utf-8")
PYTHON = ".venv/dev/bin/python -m "


def test_the_code_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    said = []
    for code in blocks(PAGE, "python"):
        exec(compile(code, "docs/folding.md", "exec"), {"__name__": "page"})  # noqa: S102
        said.append(capsys.readouterr().out)
    of_ones_own, released = said
    assert of_ones_own == "norm, after conv, is folded into it: scale 1 to 1\n"
    assert released.startswith("Cast Conv Sigmoid AveragePool Conv")


def test_the_commands_name_what_there_is() -> None:
    benchmark, pytest_command = (block.strip() for block in blocks(PAGE, "sh"))
    assert benchmark == f"{PYTHON}benchmarks.folding_accuracy"
    assert pytest_command == f"{PYTHON}pytest tests/export"


def test_the_table_has_every_case_of_the_benchmark() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in cases()] == cases()


def test_the_files_it_names_are_there() -> None:
    names = re.findall(r"`((?:export|tests|benchmarks)/[\w/]+\.py)`", PAGE)
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []
