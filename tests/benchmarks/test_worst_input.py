"""The table of what the worst requests cost."""

import re
import sys

import pytest

from benchmarks.http import worst_input

COST = r"[\d,]+ MiB, \d+\.\d s \| [\d,]+ ms, [\d,]+ ms"


def test_each_request_is_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "--many", "3", "private tags"])
    worst_input.main()
    *_, row = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"\| many private tags \| {COST} \| 1 x 200 \| {COST} \| 3 x 200 \|", row
    ), row
