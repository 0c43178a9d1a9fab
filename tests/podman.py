"""Podman, for tests of containers."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

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
    """Podman with an image that it can run, as `make test-container` prepares it.

    Args:
        image: as `make container` names it.
        folder: for the settings.
    """
    settings = folder / "containers.conf"
    settings.write_text(SETTINGS)
    path = shutil.which("podman")
    assert path, "there is no podman here"
    found = Podman(path, settings)
    assert found.run("image", "exists", image).returncode == 0, f"there is no image {image} here"
    return found
