"""docs/lesson.md: its code, run in one process, prints what the page says."""

import re
from pathlib import Path

import pytest

from tests.pages import blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lesson.md").read_text(encoding="utf-8")
CODE_AND_OUTPUT = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```$)?", re.DOTALL | re.MULTILINE
)


def test_the_code_prints_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    found = list(CODE_AND_OUTPUT.finditer(PAGE))
    assert len(found) == len(blocks(PAGE, "python"))
    assert sum(match["output"] is not None for match in found) == len(blocks(PAGE, "text"))
    names: dict[str, object] = {"__name__": "lesson"}
    for match in found:
        exec(compile(match["code"], "docs/lesson.md", "exec"), names)  # noqa: S102
        printed = capsys.readouterr().out
        if match["output"] is not None:
            assert printed == match["output"], match["code"]


def test_the_files_it_names_are_there() -> None:
    names = re.findall(r"`((?:export|tests|benchmarks|training)/[\w/]+\.py)`", PAGE)
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []
