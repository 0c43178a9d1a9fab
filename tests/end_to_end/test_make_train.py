"""`make train` and `make export` can be repeated: files of an earlier run are no error."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT


def commands(folder: Path, target: str) -> str:
    """The commands that make would run, without those for the environment."""
    done = subprocess.run(
        ["make", "--dry-run", target],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "runs" / "release").mkdir(parents=True)
    return tmp_path


def test_a_finished_run_is_replaced_and_a_broken_one_goes_on(checkout: Path) -> None:
    assert "--out runs/release --overwrite\n" in commands(checkout, "train")
    (checkout / "runs" / "release" / "resume.pt").touch()
    assert "--out runs/release --resume\n" in commands(checkout, "train")
