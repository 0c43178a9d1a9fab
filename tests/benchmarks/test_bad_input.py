"""`benchmarks.http.bad_input` on the service alone, with few requests."""

from collections import deque
from pathlib import Path

from benchmarks.http.bad_input import kinds, send_all
from benchmarks.http.peers import Server
from benchmarks.http.shipped import shipped
from tests.benchmarks.rehearsal import BENTOML


def ours(folder: Path) -> Server:
    return shipped(BENTOML)


def test_answers_are_counted() -> None:
    found = kinds(paths=2)
    large = [*found["300 MB in a form"], *found["300 MB as the body"]]
    some = [found["pictures"][0], *found["forms"][:2], *found["random paths"], *large]
    row = send_all(ours, deque(some))
    assert row.statuses == {200: 1, 400: 2, 404: 2, 413: 2}
    assert row.unanswered == []
    assert 0 < row.growth_mib < row.peak_mib
