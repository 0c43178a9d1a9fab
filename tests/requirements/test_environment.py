"""`requirements/environment.sh` through `make`: environments that are damaged or outdated.

The lock names one small package of our own, so that nothing is downloaded.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pythons import OURS, VERSIONS, find_python
from tests.requirements.checkout import (
    LAST_RESORT_SECONDS,
    PLAIN,
    TARGET,
    Checkout,
    program,
)


def test_it_is_made_once(made: Checkout) -> None:
    again = made.make()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.parametrize("where", ["variables", "file"])
def test_what_a_users_shell_says_of_pip_and_python_does_not_lead_elsewhere(
    checkout: Checkout, tmp_path: Path, where: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for module in ("pip", "small", "venv"):
        (elsewhere / f"{module}.py").write_text("raise SystemExit('of another Python')\n")
    settings = tmp_path / "pip.conf"
    settings.write_text("[install]\nuser = true\n")
    before = sorted(elsewhere.rglob("*"))
    variables = (
        {"PIP_CONFIG_FILE": str(settings)}
        if where == "file"
        else {
            **{"PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PYTHONSAFEPATH": "1"},
            **dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"), str(elsewhere)),
            **dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "CDPATH"), str(elsewhere)),
        }
    )
    done = checkout.make(environment={**PLAIN, **variables})
    assert done.returncode == 0, done.stderr
    assert "Installing requirements/dev.lock into .venv/dev (Python 3." in done.stdout
    assert checkout.installed() == "1.0"
    assert sorted(elsewhere.rglob("*")) == before


def test_a_pip_that_is_told_to_install_elsewhere_is_found_out(
    checkout: Checkout, tmp_path: Path
) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    done = checkout.make(environment={**PLAIN, "PIP_CONFIG_FILE": str(settings)})
    assert done.returncode != 0
    assert "pip installed requirements/dev.lock elsewhere than into .venv/dev" in done.stderr


def test_the_environment_of_a_copied_checkout_is_made_anew(made: Checkout, tmp_path: Path) -> None:
    other = replace(made, folder=tmp_path / "other")
    shutil.copytree(made.folder, other.folder, symlinks=True)
    assert other.make().returncode == 0
    assert other.installed() == "1.0"
    script = other.folder / ".venv" / "dev" / "bin" / "small"
    done = subprocess.run([script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(other.folder))


def test_an_environment_whose_python_is_gone_is_made_anew(made: Checkout) -> None:
    made.python.unlink()
    made.python.symlink_to("/nowhere/python3")
    assert made.make().returncode == 0
    assert made.installed()


def test_an_interrupted_installation_is_done_again(checkout: Checkout) -> None:
    process = checkout.start()
    deadline = time.monotonic() + LAST_RESORT_SECONDS
    while not checkout.python.is_symlink():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (checkout.folder / TARGET).exists()
    assert checkout.make().returncode == 0
    assert checkout.installed() == "1.0"


def test_two_at_once_make_one(quick_checkout: Checkout) -> None:
    both = [quick_checkout.start(), quick_checkout.start()]
    said = [process.communicate(timeout=LAST_RESORT_SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Installing" in output for output, _ in said) == 1
    assert quick_checkout.installed() == "1.0"


def test_what_the_index_does_not_have_is_said_in_a_line_and_tried_again(
    quick_checkout: Checkout,
) -> None:
    checkout = quick_checkout
    right = checkout.lock.read_text()
    checkout.lock.write_text(right.replace("1.0", "7.0"))
    done = checkout.make()
    assert done.returncode != 0
    assert "requirements/dev.lock could not be installed into .venv/dev" in done.stderr
    assert "Traceback" not in done.stderr
    checkout.lock.write_text(right)
    assert checkout.make().returncode == 0
    assert checkout.installed() == "1.0"


def test_another_lock_is_installed_into_the_same_environment(made: Checkout) -> None:
    mine = made.python.with_name("mine")
    mine.touch()
    version = made.installed() + ".1"
    made.lock_version(version)
    assert made.make().returncode == 0
    assert made.installed() == version
    assert mine.exists()


def test_a_driver_that_came_after_the_first_install_brings_cuda(
    quick_checkout: Checkout, tmp_path: Path
) -> None:
    checkout = quick_checkout
    for lock in ("serve", "cuda"):
        shutil.copy(checkout.lock, checkout.lock.with_name(f"{lock}.lock"))
    with checkout.lock.with_name("cuda.lock").open("a") as file:
        file.write("# and CUDA\n")
    serve = ".venv/serve/.installed"
    assert "Installing requirements/serve.lock into .venv/serve" in checkout.make(serve).stdout
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs / "nvidia-smi", "exit 0")
    usual = checkout.variables
    with_driver = {**usual, "PATH": f"{programs}:{usual['PATH']}"}
    done = checkout.make(serve, environment=with_driver)
    assert done.returncode == 0, done.stderr
    assert "Installing requirements/cuda.lock into .venv/serve" in done.stdout
    assert "Installing" not in checkout.make(serve, environment=with_driver).stdout


def test_the_environment_that_is_active_can_be_made_anew(made: Checkout) -> None:
    (made.folder / TARGET).unlink()
    active = {"PATH": f"{made.python.parent}:{PLAIN['PATH']}"}
    done = made.make(environment={**PLAIN, **active})
    assert done.returncode == 0, done.stderr
    assert made.installed()


def test_without_a_choice_the_first_python_that_will_do_is_taken(
    checkout: Checkout, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs / "python3", "echo 3.10")
    program(programs / "python3.13", "echo no such version >&2; exit 127")  # as pyenv's
    program(programs / "pyenv", "exit 1")
    (programs / "python3.12").symlink_to(sys.executable)
    done = checkout.make(environment={**PLAIN, "PATH": f"{programs}:{PLAIN['PATH']}"})
    assert done.returncode == 0, done.stderr
    assert checkout.installed() == "1.0"


def test_a_python_that_pyenv_has_is_taken_from_there(
    checkout: Checkout, quick: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    program(programs / "python3.13", "echo pyenv: python3.13: command not found >&2; exit 127")
    program(programs / "pyenv", f'test "$*" = "prefix 3.13" && echo "{quick}"')
    path = f"{programs}:{PLAIN['PATH']}"
    done = checkout.make("PYTHON=python3.13", environment={**PLAIN, "PATH": path})
    assert done.returncode == 0, done.stderr
    assert checkout.installed() == "1.0"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 3.10", "is Python 3.10; expected one of 3.11 3.12 3.13 3.14"),
        ("echo 3.15", "is Python 3.15; expected one of 3.11 3.12 3.13 3.14"),
        ("echo 2.7", "is Python 2.7; expected one of"),
        ("echo not for you >&2; exit 127", "does not run (not for you)"),
        (None, "not found"),
    ],
)
def test_a_python_that_will_not_do_is_one_line(
    checkout: Checkout, tmp_path: Path, script: str | None, expected: str
) -> None:
    python = tmp_path / "python"
    if script:
        program(python, script)
    done = checkout.make(f"PYTHON={python}")
    assert done.returncode != 0
    line, made = done.stderr.splitlines()
    assert expected in line
    assert str(python) in line
    assert made.startswith("make: ***")
    assert not checkout.python.exists()


def test_a_python_without_venv_is_told_its_package(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "ensurepip.py").write_text("raise ImportError\n")
    python = program(tmp_path / "python", f'PYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"')
    done = checkout.make(f"PYTHON={python}")
    assert done.returncode != 0
    line, _ = done.stderr.splitlines()
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in line
    assert not checkout.python.exists()


def test_a_checkout_that_cannot_be_written_to_is_one_line(checkout: Checkout) -> None:
    (checkout.folder / ".venv").symlink_to("/proc")  # where not even root may
    done = checkout.make()
    assert done.returncode != 0
    line, _ = done.stderr.splitlines()
    assert f"Cannot write to {checkout.folder}/.venv/dev" in line


def test_another_python_makes_it_anew(checkout: Checkout) -> None:
    found = [find_python(version) for version in VERSIONS if version != OURS]
    other = next((python for python in found if python), None)
    if not other:
        pytest.skip("this machine has no second Python that we support")
    assert checkout.make(f"PYTHON={sys.executable}").returncode == 0
    done = checkout.make(f"PYTHON={other}")
    assert done.returncode == 0, done.stderr
    assert checkout.installed() == "1.0"
    kept = checkout.make()  # though the machine's first may be another
    assert (kept.stdout, kept.stderr) == ("", "")
    made = subprocess.check_output([checkout.python, "-V"], text=True)
    assert made == subprocess.check_output([other, "-V"], text=True)
