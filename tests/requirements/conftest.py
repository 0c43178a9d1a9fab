"""Checkouts with and without an environment."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.requirements.checkout import (
    PLAIN,
    Checkout,
    new_checkout,
    program,
)

QUICK = """
case "$*" in
"-m venv "*) "{python}" -m venv --without-pip "$3" && cp -a "{pip}"/. "$3/{packages}" ;;
*_base_executable*) echo "$0" ;;
*) exec "{python}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """One without an environment."""
    return new_checkout(tmp_path / "my checkout")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix whose Python does not install pip anew into each environment, but copies it.

    That takes three quarters of the time. The tests that depend on how it is installed do without.
    """
    prefix = tmp_path_factory.mktemp("quick")
    (prefix / "bin").mkdir()
    environment = {name: value for name, value in PLAIN.items() if not name.startswith("PIP_")}
    python = sys._base_executable  # type: ignore[attr-defined]
    subprocess.run([python, "-m", "venv", prefix / "whole"], check=True, env=environment)
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (prefix / "pip").mkdir()
    for found in (prefix / "whole" / packages).glob("pip*"):
        found.rename(prefix / "pip" / found.name)
    script = QUICK.format(python=python, pip=prefix / "pip", packages=packages)
    program(prefix / "bin" / "python3", script)
    return prefix


@pytest.fixture
def quick_checkout(checkout: Checkout, quick: Path) -> Checkout:
    """One without an environment, which gets one quickly."""
    return replace(checkout, variables={**PLAIN, "PATH": f"{quick / 'bin'}:{PLAIN['PATH']}"})


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory, quick: Path) -> Checkout:
    made = new_checkout(tmp_path_factory.mktemp("made") / "my checkout")
    return replace(made, variables={**PLAIN, "PATH": f"{quick / 'bin'}:{PLAIN['PATH']}"})


@pytest.fixture
def made(_made: Checkout) -> Checkout:
    """One with an environment, whole whatever the test before it did."""
    done = _made.make()
    assert done.returncode == 0, done.stderr
    return _made
