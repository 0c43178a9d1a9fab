"""These tests need an NVIDIA GPU: `make test-gpu` runs them.

`GPU_REHEARSAL=1` runs them on the CPU in the place of the GPU, to try the tests themselves.
"""

import os
from typing import Literal

import pytest
import torch

REHEARSAL = os.environ.get("GPU_REHEARSAL") == "1"
DEVICE: Literal["cpu", "cuda"] = "cpu" if REHEARSAL else "cuda"


@pytest.fixture(autouse=True, scope="session")
def cuda() -> None:
    if not REHEARSAL and not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA GPU here")
