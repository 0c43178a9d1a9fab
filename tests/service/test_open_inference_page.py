"""docs/open_inference.md, followed to the letter."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.serving import ROOT, Server

PAGE = (ROOT / "docs" / "open_inference.md").read_text(encoding="utf-8")
PAGE_PORT = "localhost:3000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the test set where the page looks for it."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / ".curlrc").write_text('fail-with-body\nsilent\nshow-error\nwrite-out = "\\n"\n')
    return tmp_path


def run(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_port(block: str, server: Server) -> str:
    assert PAGE_PORT in block
    return block.replace(PAGE_PORT, f"127.0.0.1:{server.port}")


def rounded(answer: str) -> str:
    return re.sub(r"0\.\d+", lambda number: f"{float(number[0]):.4f}", answer.strip())


def test_the_commands_are_answered(server: Server, folder: Path) -> None:
    script = "\n".join(at_port(block, server) for block in blocks("sh"))
    as_json, compressed, classes, *rest = run(["bash", "-euc", script], folder).splitlines()
    answer = json.loads(as_json)
    assert answer["id"] == "7"
    (output,) = answer["outputs"]
    assert (output["name"], max(output["data"])) == ("probabilities", output["data"][9])
    assert json.loads(compressed) == answer
    (shown,) = blocks("json")
    assert rounded(classes) == rounded(shown)
    assert "".join(rest) == ""
    assert (folder / "answer.bin").read_bytes().startswith(b'{"model_name":"fashion_lenet"')


def test_the_python_is_answered(server: Server, folder: Path) -> None:
    (code,) = blocks("python")
    printed = run([sys.executable, "-c", at_port(code, server)], folder)
    assert printed.startswith("[9 2 1 1 6 1 4 6")
    assert ":9:Ankle boot'" in printed


def test_the_routes_and_tensors_are_those_there_are(server: Server) -> None:
    routes = re.findall(r"^\| `GET (/v2[^`]*)` \|", PAGE, re.MULTILINE)
    assert len(routes) == 5
    for route in routes:
        run(["curl", "--fail", "--silent", server.url + route], ROOT)
    metadata = json.loads(run(["curl", "-s", f"{server.url}/v2/models/fashion_lenet"], ROOT))
    tensors = [*metadata["inputs"], *metadata["outputs"]]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `\[N, (.*)\]` \|", PAGE, re.MULTILINE)
    assert rows == [
        (tensor["name"], tensor["datatype"], ", ".join(map(str, tensor["shape"][1:])))
        for tensor in tensors
    ]
