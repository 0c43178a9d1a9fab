"""These tests need an NVIDIA GPU: `make test-gpu` runs them, `make test` says why it does not."""

import pytest
import torch


@pytest.fixture(autouse=True)
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA GPU here")
