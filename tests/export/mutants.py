"""Correct models that were changed, or made from a changed network."""

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export.folding import tracing
from export.folding.fold import fold
from export.folding.normalization import Normalization
from export.onnx_file.emission import emit
from export.onnx_file.lenet import emit_lenet, lenet_style

Mutant = Callable[[nn.Sequential, pytest.MonkeyPatch], onnx.ModelProto]


_EMITTED: dict[tuple[object, ...], bytes] = {}


def emitted(network: nn.Sequential, std: float = 1.0) -> onnx.ModelProto:
    """Return a network's model; one that is the same network again is not folded again."""
    numbers = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    key = (repr(network), numbers, std, tracing.EPS)
    if key not in _EMITTED:
        _EMITTED[key] = emit_lenet(network, Normalization(std=(std,))).model.SerializeToString()
    return onnx.load_model_from_string(_EMITTED[key])


def fold_unchecked(monkeypatch: pytest.MonkeyPatch, eps: float) -> None:
    """Fold with another eps, and without the comparison that would find it."""
    monkeypatch.setattr("export.folding.tracing.EPS", eps)
    monkeypatch.setattr("export.folding.fold.check_same", lambda *_: None)


def replace(
    model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], None]
) -> onnx.ModelProto:
    """Change one tensor of a correct model."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            change(values)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
            return model
    raise KeyError(name)


def tampered_weight(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(weight: np.ndarray) -> None:
        weight.flat[17] += 0.01

    return replace(emitted(network), "7.weight", change)


def last_bias_off(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(bias: np.ndarray) -> None:
        bias[3] += 2e-4

    return replace(emitted(network), "11.bias", change)


def wrong_eps(network: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    fold_unchecked(monkeypatch, 1e-3)
    return emitted(network)


def no_eps(network: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    fold_unchecked(monkeypatch, 0.0)
    return emitted(network)


def no_mean(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    wrong = copy.deepcopy(network)
    wrong[10].moving_mean.zero_()
    return emitted(wrong)


def no_beta(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    wrong = copy.deepcopy(network)
    torch.nn.init.zeros_(wrong[5].beta)
    return emitted(wrong)


def values_for_bytes(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    return emitted(network, std=1 / 255)


def scale_of_256(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    return emitted(network, std=256 / 255)


def swapped_channels(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(weight: np.ndarray) -> None:
        weight[[2, 3]] = weight[[3, 2]]

    return replace(emitted(network), "3.weight", change)


def swapped_classes(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(values: np.ndarray) -> None:
        values[[0, 6]] = values[[6, 0]]

    return replace(replace(emitted(network), "11.weight", change), "11.bias", change)


def transposed_kernel(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(weight: np.ndarray) -> None:
        weight[:] = weight.swapaxes(2, 3).copy()

    return replace(emitted(network), "0.weight", change)


def stale_checkpoint(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    """The model of one training step ago."""
    stale = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in stale.parameters():
            parameter.mul_(1 - 1e-4)
    return emitted(stale)


def half_precision(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    folded = fold(network, torch.zeros(2, 1, 28, 28), Normalization())
    return emit(folded.half().double(), lenet_style(network)).model


def nan_weight(network: nn.Sequential, _: pytest.MonkeyPatch) -> onnx.ModelProto:
    def change(weight: np.ndarray) -> None:
        weight.flat[0] = np.nan

    return replace(emitted(network), "9.weight", change)


MUTANTS: list[Mutant] = [
    tampered_weight,
    last_bias_off,
    wrong_eps,
    no_eps,
    no_mean,
    no_beta,
    values_for_bytes,
    scale_of_256,
    swapped_channels,
    swapped_classes,
    transposed_kernel,
    stale_checkpoint,
    half_precision,
    nan_weight,
]
