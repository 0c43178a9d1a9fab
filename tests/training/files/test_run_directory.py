"""A run's folder: a run is overwritten only on request, and then removed completely."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.errors import RunError
from training.files.run_directory import PICTURES, RunDirectory

OWN = ("checkpoint.safetensors", "metrics.json", "curves.png", "log.jsonl", *PICTURES)
USERS = ("notes.txt", "other.onnx", "my.png")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def fill(directory: RunDirectory, *names: str) -> None:
    directory.path.mkdir(exist_ok=True)
    for name in names:
        (directory.path / name).write_text(name)


def names(directory: RunDirectory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


@pytest.mark.parametrize("name", OWN)
def test_a_folder_that_holds_anything_of_a_run_is_refused(
    directory: RunDirectory, name: str
) -> None:
    fill(directory, name)
    with pytest.raises(RunError) as caught:
        directory.check(resume=False, overwrite=False)
    assert str(caught.value) == (
        f"{directory.path} holds another run ({name}): choose another --out, or add --overwrite to "
        "lose it"
    )
    assert names(directory) == {name}


def test_an_unfinished_run_is_refused_with_the_way_to_go_on(directory: RunDirectory) -> None:
    fill(directory, "resume.pt", "log.jsonl")
    with pytest.raises(RunError, match=r"holds an unfinished run: add --resume .* or add --overw"):
        directory.check(resume=False, overwrite=False)
    directory.check(resume=True, overwrite=False)
    directory.check(resume=False, overwrite=True)


def test_a_folder_of_other_files_is_taken(directory: RunDirectory) -> None:
    fill(directory, *USERS)
    directory.check(resume=False, overwrite=False)
    directory.begin(resume=False)
    assert names(directory) == {*USERS, "log.jsonl"}


def test_overwriting_removes_the_run_and_nothing_else(directory: RunDirectory) -> None:
    fill(directory, *OWN, *USERS, "resume.pt", "equivalence.json")
    directory.check(resume=False, overwrite=True)
    assert names(directory) == {*OWN, *USERS, "resume.pt", "equivalence.json"}  # not yet
    directory.begin(resume=False)
    assert names(directory) == {*USERS, "log.jsonl", "equivalence.json"}
    assert (directory.path / "log.jsonl").read_text() == ""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("of_this_run", [True, False])
def test_overwriting_removes_the_model_that_was_exported_from_the_run(
    directory: RunDirectory, of_this_run: bool
) -> None:
    fill(directory, *OWN, *USERS, "lenet.onnx")
    checkpoint = sha256(directory.checkpoint) if of_this_run else "0" * 64
    proof = {"checkpoint_sha256": checkpoint, "model_sha256": sha256(directory.path / "lenet.onnx")}
    (directory.path / "equivalence.json").write_text(json.dumps(proof))
    directory.begin(resume=False)
    exported = set() if of_this_run else {"lenet.onnx", "equivalence.json"}
    assert names(directory) == {*USERS, *exported, "log.jsonl"}


def test_resuming_removes_the_pictures_of_the_older_checkpoint(directory: RunDirectory) -> None:
    fill(directory, *OWN, *USERS, "resume.pt")
    directory.begin(resume=True)
    assert names(directory) == {*OWN, *USERS, "resume.pt"} - set(PICTURES)


def test_resuming_drops_half_a_line_of_the_log(directory: RunDirectory) -> None:
    fill(directory)
    directory.log.write_text('{"event": "epoch"}\n{"eve')
    directory.begin(resume=True)
    directory.write_log("start", epochs_done=1)
    assert [json.loads(line)["event"] for line in directory.log.read_text().splitlines()] == [
        *("epoch", "start")
    ]


def test_nothing_to_resume(directory: RunDirectory) -> None:
    with pytest.raises(RunError, match="holds no unfinished run"):
        directory.check(resume=True, overwrite=False)
    assert not directory.path.exists()


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_tensor(path: Path) -> None:
    torch.save(torch.zeros(1), path)


@pytest.mark.parametrize("write", [_garbage, _nothing, _a_folder, _a_tensor])
def test_what_is_no_resume_file_is_told(
    directory: RunDirectory, write: Callable[[Path], None]
) -> None:
    fill(directory)
    write(directory.state)
    with pytest.raises(RunError, match=r"resume.pt is damaged, or another version's \(.*overwrite"):
        directory.load_state()


LIMIT = 100  # bytes that a file may have
WRITE_PAST_IT = """
import resource, signal, sys
from pathlib import Path
from training.errors import RunError
from training.files.run_directory import RunDirectory
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    RunDirectory(Path(sys.argv[1])).write_log("epoch", text="x" * int(sys.argv[2]))
except RunError as error:
    print(error)
"""


def test_a_line_that_has_no_room_is_left_out_as_a_whole(directory: RunDirectory) -> None:
    fill(directory)
    directory.write_log("start")
    before = directory.log.read_bytes()
    assert len(before) < LIMIT
    done = subprocess.run(
        [sys.executable, "-c", WRITE_PAST_IT, directory.path, str(LIMIT)],
        cwd=Path(__file__).parents[3],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"cannot write {directory.log}: ")
    assert directory.log.read_bytes() == before
