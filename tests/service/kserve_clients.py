"""KServe's clients, in an environment of their own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.serving import ROOT

PYTHON = ROOT / ".venv" / "kserve" / "bin" / "python"
needs_kserve = pytest.mark.skipif(
    not PYTHON.exists(), reason="`make test` makes KServe's environment"
)


def ask_kserve(client: str, address: str, batch: NDArray[np.uint8], folder: Path) -> dict[str, Any]:
    """Return what a client's program beside this file prints of a server's answers to images."""
    path = folder / "images.npy"
    np.save(path, batch)
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name(client), address, path],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
