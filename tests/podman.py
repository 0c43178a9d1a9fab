"""Podman, for tests of containers."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.programs import program

# In a container itself, root may not raise these limits to what Podman would; and runc takes any
# kind of control groups.
SETTINGS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


@dataclass(frozen=True)
class Podman:
    """The program, with settings of our own."""

    path: str
    settings: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.path, *arguments],
            # Podman's own probes need systemd; ours ask from outside.
            env={**os.environ, "CONTAINERS_CONF": str(self.settings), "DISABLE_HC_SYSTEMD": "true"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def podman_with(image: str, folder: Path) -> Podman:
    """Podman where it has an image and can run it; else skips.

    Args:
        image: as `make container` names it.
        folder: for the settings.
    """
    settings = folder / "containers.conf"
    settings.write_text(SETTINGS)
    program("runc")
    found = Podman(program("podman"), settings)
    if found.run("image", "exists", image).returncode != 0:
        pytest.skip(f"there is no image {image} here: `make container` builds it")
    return found
