"""A device is chosen, or the error says that it is missing."""

import pytest
import torch

from training.errors import RunError
from training.execution.devices import choose_device


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda").type == "cuda"
    assert choose_device("cpu").type == "cpu"


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match=r"finds no CUDA device: .* or take --device cpu"):
        choose_device("cuda")
