"""The command `fashion-lenet`: its commands are those of `python -m`, in any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.fashion_lenet import COMMANDS
from tests.serving import ROOT, environment

PROGRAM = "import sys; from service.cli.fashion_lenet import main; sys.exit(main())"


def call(folder: Path, *arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Call it as its console script does."""
    hidden = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    return subprocess.run(
        [sys.executable, "-c", hidden + PROGRAM, *arguments],
        cwd=folder,
        env={**environment(folder, {"FASHION_DEVICE": "cpu"}), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_it_lists_its_commands(tmp_path: Path) -> None:
    done = call(tmp_path, "--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")] == list(
        COMMANDS
    )


@pytest.mark.parametrize("arguments", [(), ("trian",)])
def test_an_unknown_command_is_a_usage_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: expected a command, got '")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_the_help_of_its_module(name: str, tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()  # of its user, and not ours
    (tmp_path / "training" / "__main__.py").write_text("raise SystemExit('not this one')")
    done = call(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_arguments_and_exit_status_are_the_programs(tmp_path: Path) -> None:
    done = call(tmp_path, "classify", "missing.png")
    assert done.returncode == 1
    assert "missing.png" in done.stderr


@pytest.mark.parametrize("name", ["train", "report", "data", "export", "verify", "seal", "inspect"])
def test_a_missing_extra_is_named(name: str, tmp_path: Path) -> None:
    done = call(tmp_path, name, "--help", without="torch")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "needs torch, which is not installed: pip install 'fashion-lenet-bn[train]'\n"
    )
