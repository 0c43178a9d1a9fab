"""Every example in docs/api.md runs, and answers what the page says."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright._impl._driver import compute_driver_executable

from tests.pages import blocks, run
from tests.serving import ROOT, Server

PAGE = (ROOT / "docs" / "api.md").read_text()
ADDRESS = "http://localhost:3000"


def node() -> str:
    """Node.js, or the one that playwright has."""
    return shutil.which("node") or str(compute_driver_executable()[0])


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    """What the page says that `/classify?top_k=3` answers."""
    (example,) = blocks(PAGE, "json")
    found: dict[str, Any] = json.loads(example)
    return found


def is_as_shown(found: dict[str, Any], answer: dict[str, Any]) -> None:
    """Except for what the next release of the model may change."""
    assert list(found) == list(answer)
    for key in ("label", "class_id", "preprocessing"):
        assert found[key] == answer[key]
    assert found["confidence"] == pytest.approx(answer["confidence"], abs=0.01)
    assert found["probabilities"] == {
        key: pytest.approx(value, abs=0.01) for key, value in answer["probabilities"].items()
    }
    assert next(iter(found["probabilities"])) == found["label"]
    assert found["model"]["name"] == answer["model"]["name"]


def test_the_page_has_these_examples() -> None:
    languages = re.findall("^```([a-z]+)$", PAGE, re.MULTILINE)
    assert {name: languages.count(name) for name in languages} == {
        "sh": 2,
        "python": 3,
        "js": 1,
        "json": 1,
    }


def test_curl(server: Server, answer: dict[str, Any]) -> None:
    one, batch = (
        json.loads(run(["curl", "-s", *shlex.split(here(example, server))[1:]], ROOT, {}))
        for example in blocks(PAGE, "sh")
    )
    is_as_shown(one, answer)
    assert [found["label"] for found in batch] == ["Ankle boot", "Ankle boot"]


def test_javascript(server: Server, answer: dict[str, Any]) -> None:
    (example,) = blocks(PAGE, "js")
    command: list[str | Path] = [node(), "--input-type=module", "--eval", here(example, server)]
    is_as_shown(json.loads(run(command, ROOT, {})), answer)


def test_python(server: Server, answer: dict[str, Any]) -> None:
    classify, predict, client = (
        run([sys.executable, "-c", here(example, server)], ROOT, {})
        for example in blocks(PAGE, "python")
    )
    is_as_shown(json.loads(classify.replace("'", '"').replace("False", "false")), answer)
    assert predict == "['Dress', 'Dress']\n"
    label, labels, predicted = client.splitlines()
    assert (label, labels) == ("Ankle boot", "['Ankle boot', 'Ankle boot']")
    assert len(predicted.split(",")) == 2


def here(example: str, server: Server) -> str:
    """An example, for the server of the tests."""
    assert ADDRESS in example
    return example.replace(ADDRESS, server.url)
