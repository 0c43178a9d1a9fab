"""CONTRIBUTING.md: its commands, the files it names, and which tests run alone."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import blocks
from tests.serving import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks(PAGE, "sh")
    for line in block.splitlines()
    if "pytest" in line
]
TESTS = ROOT / "tests"
LEFT_OUT = sorted(
    path for room in ("container", "gpu") for path in (TESTS / room).glob("test_*.py")
)
CONTRACTS = sorted((TESTS / "contracts").glob("test_*.py"))


def test_the_command_for_some_of_a_file_finds_them() -> None:
    python, *arguments = COMMANDS[1]
    assert python == ".venv/dev/bin/python"
    done = subprocess.run(
        [sys.executable, *arguments, "--collect-only", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_make_test_runs_all_the_others_twice_over() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    run = [
        shlex.split(line) for line in lines if line.startswith("\t$(DEV)/bin/python -m pytest -m")
    ]
    assert [line[line.index("-m", 3) + 1] for line in run] == ["not serial", "serial"]
    assert [command[command.index("-m", 3) + 1] for command in COMMANDS[2:]] == [
        *("not serial", "serial")
    ]


@pytest.mark.parametrize("path", LEFT_OUT, ids=lambda path: path.stem)
def test_what_make_test_leaves_out_can_be_imported(path: Path) -> None:
    importlib.import_module(f"tests.{path.parent.name}.{path.stem}")


def test_the_files_it_names_are_there() -> None:
    paths = set(re.findall(r"`([\w./]+[/.](?:\w+)?)`", PAGE)) - {"errors.py"}
    paths = {path for path in paths if "/" in path and not path.startswith(".venv/")}
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_it_lists_what_runs_alone() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in TESTS.rglob("test_*.py")
        if re.search(r"^(pytestmark = |@)pytest\.mark\.serial", path.read_text(), re.MULTILINE)
    }
    (said,) = re.findall(r"A test is `serial` if.*?\. All others", PAGE, re.DOTALL)
    assert set(re.findall(r"`(tests/\S+?)`", said)) == marked


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.stem)
def test_a_contract_names_its_library_and_who_stands_on_it(path: Path) -> None:
    """So a maintainer whose upgrade breaks it knows which modules to change."""
    library = path.stem.removeprefix("test_")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert text.lower().startswith((f"{library}:", f"{library} of the standard library:"))
    modules = re.findall(r"`([\w.]+)`", text.partition("Stood on by")[2])
    assert modules
    assert [m for m in modules if not (ROOT / (m.replace(".", "/") + ".py")).exists()] == []
