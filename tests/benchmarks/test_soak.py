"""The soaks from start to end, in seconds, and that their checks can fail."""

import json
from pathlib import Path

from benchmarks.soak.resources import judge_growth
from benchmarks.soak.soak import judge
from tests.benchmarks.rehearsal import BENTOML, rehearse

ROW = {"rss_mib": 140.0, "uss_mib": 90.0, "descriptors": 24, "threads": 9}
BEFORE = {"parent": {**ROW, "threads": 4}, "worker 1": ROW, "worker 2": ROW}
GOOD = ("picture as a form", "picture as the body", "photograph", "batch of pictures")
OTHERS = ("JSON", "OIP JSON", "OIP binary", "hostile case", "random path", "bad body", "burst")


def test_every_kind_is_sent_and_answered_and_a_worker_killed(tmp_path: Path) -> None:
    short = ("--minutes", "0.12", "--any-growth", "--bentoml", str(BENTOML))
    printed = rehearse("soak", *short, "--out", str(tmp_path))
    found = json.loads((tmp_path / "soak.json").read_text())
    assert set(GOOD + OTHERS) <= found["statuses"].keys()
    assert all(found["statuses"][kind].keys() <= {"200", "429"} for kind in GOOD)
    assert found["left"] > 0
    assert found["faults"] == {}
    assert f"worker {found['killed']['worker']}" in found["before"].keys() - found["after"].keys()
    assert len(found["samples"]) >= 2
    assert "descriptors" in printed


def test_models_are_changed_and_no_answer_is_lost_or_wrong(tmp_path: Path) -> None:
    short = ("--minutes", "0.1", "--any-growth", "--bentoml", str(BENTOML))
    printed = rehearse("soak.models", *short, "--out", str(tmp_path), "resnet20")
    found = json.loads((tmp_path / "soak-models.json").read_text())
    models = ("fashion_lenet", "upper_case_lenet", "resnet20")
    kinds = {f"{protocol} {model}" for protocol in ("HTTP", "gRPC") for model in models}
    assert kinds | {"load", "unload"} == found["statuses"].keys()
    assert all(statuses["200"] > 0 for statuses in found["statuses"].values())
    assert found["faults"] == {}
    assert f"worker {found['killed']['worker']}" in found["before"].keys() - found["after"].keys()
    assert "unload" in printed


def test_as_large_as_before_is_right() -> None:
    found = {"faults": {}, "before": BEFORE, "after": BEFORE, "tracebacks": 0}
    assert judge(found) == []
    later = {**BEFORE, "worker 2": {**ROW, "rss_mib": 159.0}, "worker 3": ROW}
    assert judge_growth(BEFORE, later) == []


def test_what_has_grown_is_named() -> None:
    after = {
        "parent": {**BEFORE["parent"], "threads": 5},
        "worker 1": {**ROW, "rss_mib": 161.0},
        "worker 3": {**ROW, "descriptors": 25},
    }
    assert judge_growth(BEFORE, after) == [
        "parent: threads grew from 4 to 5",
        "worker 1: rss_mib grew from 140 to 161",
        "worker 3: descriptors grew from 24 to 25",
    ]


def test_what_went_wrong_is_named() -> None:
    broken = [{"kind": "good", "error": "EOFError()"}]
    after = {"parent": ROW, "worker 1": ROW}
    found = {"faults": {"broken": broken}, "before": BEFORE, "after": after, "tracebacks": 2}
    assert judge(found) == [
        f"1 x broken, the first: {broken[0]}",
        "there were 2 workers, and now there are 1",
        "the log has 2 tracebacks",
    ]
