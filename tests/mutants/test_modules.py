"""`make mutants`: what it is told is true, and it runs as CONTRIBUTING.md says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutants.__main__ import modules_that_decide
from tests.serving import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EQUIVALENTS = tomllib.loads((ROOT / "tests" / "mutants" / "equivalents.toml").read_text())


def test_modules_and_their_tests_are_there() -> None:
    modules = modules_that_decide()
    assert len(modules) > 10
    for module, tests in modules.items():
        assert (ROOT / module).is_file(), module
        files = [test for test in tests if test.endswith(".py")]
        assert files
        assert all((ROOT / test).is_file() for test in files), files


@pytest.mark.parametrize("entry", EQUIVALENTS["equivalent"], ids=lambda entry: entry["function"])
def test_an_equivalent_has_a_reason_and_is_of_lines_that_are_there(entry: dict[str, str]) -> None:
    assert entry["module"] in modules_that_decide()
    assert entry["reason"].endswith(".")
    lines = {line.strip() for line in (ROOT / entry["module"]).read_text().splitlines()}
    for change in entry["changes"]:
        before = [line[2:] for line in change.strip().splitlines() if line.startswith("- ")]
        assert before
        assert lines >= set(before)


def test_it_runs_on_one_module(tmp_path: Path) -> None:
    (module,) = re.findall(r"^make mutants MODULE=(\S+)", PAGE, re.M)
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", module, "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.splitlines()
    found = re.fullmatch(rf"\| `{module}` \| (\d+) \| (\d+) \| \d+ \| \d+ \| [\d.]+ % \|", row)
    assert found
    assert 0 < int(found[2]) <= int(found[1])
