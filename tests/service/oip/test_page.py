"""The commands and the code of docs/open_inference.md."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.pages import at_port, blocks, run
from tests.serving import ROOT, Server

PAGE = (ROOT / "docs" / "open_inference.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the test set where the page looks for it."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / ".curlrc").write_text('fail-with-body\nsilent\nshow-error\nwrite-out = "\\n"\n')
    return tmp_path


def rounded(answer: str) -> str:
    return re.sub(r"0\.\d+", lambda number: f"{float(number[0]):.4f}", answer.strip())


def test_the_commands_are_answered(server: Server, folder: Path) -> None:
    script = "\n".join(at_port(block, server) for block in blocks(PAGE, "sh"))
    as_json, compressed, classes, *rest = run(
        ["bash", "-euc", script], folder, {"CURL_HOME": str(folder)}
    ).splitlines()
    answer = json.loads(as_json)
    assert answer["id"] == "7"
    (output,) = answer["outputs"]
    assert (output["name"], max(output["data"])) == ("probabilities", output["data"][9])
    assert json.loads(compressed) == answer
    (shown,) = blocks(PAGE, "json")
    assert rounded(classes) == rounded(shown)
    assert "".join(rest) == ""
    assert (folder / "answer.bin").read_bytes().startswith(b'{"model_name":"fashion_lenet"')


def test_the_python_is_answered(server: Server, folder: Path) -> None:
    code, _ = blocks(PAGE, "python")  # the other one is of tests/service/grpc/test_clients.py
    printed = run([sys.executable, "-c", at_port(code, server)], folder, {})
    assert printed.startswith("[9 2 1 1 6 1 4 6")
    assert ":9:Ankle boot'" in printed


def test_the_routes_and_tensors_are_those_there_are(server: Server) -> None:
    routes = re.findall(r"^\| `GET (/v2[^`]*)` \|", PAGE, re.MULTILINE)
    assert len(routes) == 5
    for route in routes:
        run(["curl", "--fail", "--silent", server.url + route], ROOT, {})
    metadata = json.loads(run(["curl", "-s", f"{server.url}/v2/models/fashion_lenet"], ROOT, {}))
    tensors = [*metadata["inputs"], *metadata["outputs"]]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `\[N, (.*)\]` \|", PAGE, re.MULTILINE)
    assert rows == [
        (tensor["name"], tensor["datatype"], ", ".join(map(str, tensor["shape"][1:])))
        for tensor in tensors
    ]
