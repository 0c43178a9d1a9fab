"""The interpreters on this machine that we support: on PATH, and pyenv's.

`python -m tests.pythons` prints those of other versions than its own, and which there are none of.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


def find_python(version: str) -> Path | None:
    """Return an interpreter of this version that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    candidates = ([Path(on_path)] if on_path else []) + sorted(
        pyenv.glob(f"{version}.*/bin/python3")
    )
    return next((python for python in candidates if _runs(python, version)), None)


def _runs(python: Path, version: str) -> bool:
    """Whether it runs: pyenv's on PATH fail if that version is not selected."""
    done = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.startswith(f"Python {version}.")


def main() -> None:
    """Print a path a line for those found, and say on standard error what is missing."""
    for version in VERSIONS:
        if version == OURS:
            continue
        python = find_python(version)
        if python:
            print(python)
        else:
            print(f"There is no Python {version} on this machine: not tried.", file=sys.stderr)


if __name__ == "__main__":
    main()
