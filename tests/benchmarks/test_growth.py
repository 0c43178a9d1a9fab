"""`benchmarks.http.growth` from start to end, in seconds."""

import json
import shutil
from pathlib import Path

import pytest

from tests.benchmarks.rehearsal import BENTOML, rehearse

pytestmark = pytest.mark.serial  # it measures

SHORT = ("--rounds", "1", "--seconds", "1", "--starts", "1", "--images", "1,64")
WORKS = ("PNG in a form", "OIP binary, 64 images")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_every_figure_is_there(tmp_path: Path) -> None:
    few = ("--connections", "1,4", "--bentoml", str(BENTOML), "--out", str(tmp_path))
    printed = rehearse("http.growth", *SHORT, *few)
    found = json.loads((tmp_path / "growth.json").read_text())
    tables = {title: list(rows) for title, rows in found.items() if isinstance(rows, dict)}
    assert tables == {
        "images a request": ["1", "64"],
        "connections": ["1", "4"],
        "workers": [f"{count}, {work}" for count in (1, 2) for work in WORKS],
        "start": ["ready", "idle", "after load"],
        "two workers, of one": list(WORKS),
    }
    rows = [row for title in tables for row in found[title].values()]
    assert all(row.get("failures", 0) == 0 for row in rows)
    assert all(value > 0 for row in rows for name, value in row.items() if name != "failures")
    assert all(title in printed for title in tables)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
