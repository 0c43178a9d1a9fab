"""The code blocks of a page of the documentation, run as a reader would."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.serving import Server

PORT = "localhost:3000"


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def at_port(block: str, server: Server) -> str:
    """A block, for the server of the tests."""
    assert PORT in block
    return block.replace(PORT, f"127.0.0.1:{server.port}")


def run(command: Sequence[str | Path], folder: Path, settings: Mapping[str, str]) -> str:
    """What a command prints in a folder, with more environment variables than there are."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
