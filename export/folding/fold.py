"""Fold every batch norm of a network into a neighbouring layer, or raise an error that names it.

export/folding/absorption.py has the mathematics, export/folding/dataflow.py finds the layers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from export.errors import FoldError
from export.folding.absorption import fold_batch_norm, fold_batch_norm_before
from export.folding.conditioning import Conditioning, conditioning
from export.folding.dataflow import Dataflow, Obstacle
from export.folding.foldable import NORMS, BatchNormLike, is_transposed
from training.batch_norm import EPS, BatchNorm


@dataclass(frozen=True)
class Step:
    """One batch norm and the layer that absorbed it."""

    norm: str
    layer: str
    side: Literal["after", "before"]  # position of the batch norm relative to the layer
    conditioning: Conditioning

    def __str__(self) -> str:
        """Return the step on one line."""
        return f"{self.norm}, {self.side} {self.layer}, is folded into it: {self.conditioning}"


@dataclass(frozen=True)
class Folding:
    """A folded network and its folding steps, in the order of the batch norms."""

    network: nn.Sequential | fx.GraphModule
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Return one line for each batch norm."""
        return "\n".join(map(str, self.steps)) or "there is no batch norm to fold"


@overload
def fold(model: nn.Sequential, input_scale: float = 1.0) -> nn.Sequential: ...


@overload
def fold(model: nn.Module, input_scale: float = 1.0) -> nn.Sequential | fx.GraphModule: ...


def fold(model: nn.Module, input_scale: float = 1.0) -> nn.Sequential | fx.GraphModule:
    """Fold every batch norm of a network into a neighbouring layer.

    Batch norms are `training.batch_norm.BatchNorm` and torch's BatchNorm1d, 2d, 3d
    and SyncBatchNorm; layers are Linear and all convolutions of torch. Each is
    folded into the layer before it or, if that is impossible, into the one after it.

    Inputs must have a batch axis. Inputs of a linear layer beside a BatchNorm1d
    must be (N, D): for (N, L, D) torch normalises L, which the layers do not show.

    Args:
        model: a network in eval mode; it is not modified.
        input_scale: factor for the input of the first layer. It is folded in as
            well: with 1/255 the new network takes an image's bytes, while the
            old one took values in [0, 1].

    Returns:
        A new network in float64 and eval mode, without batch norms. The caller
        rounds it once to float32. It is a flat nn.Sequential if the model is a
        Sequential of any depth, and a GraphModule otherwise.

    Raises:
        FoldError: a part of the network is in train mode, torch.fx cannot trace it,
            a batch norm has no suitable layer or no statistics, or there is no
            first layer to take the input scale.
    """
    return fold_with_report(model, input_scale).network


def fold_with_report(model: nn.Module, input_scale: float = 1.0) -> Folding:
    """Return the network that `fold` returns, and the steps with their conditioning."""
    _check_mode(model)
    flow = Dataflow(model)
    norms = flow.batch_norms()
    steps: dict[fx.Node, Step] = {}
    left_over: dict[fx.Node, Obstacle] = {}
    for norm in norms:
        _check_norm(flow, norm)
        layer = flow.layer_before(norm)
        if isinstance(layer, Obstacle):
            left_over[norm] = layer
        else:
            steps[norm] = _absorb(flow, norm, layer, "after")
    for norm, before in reversed(left_over.items()):
        layer = flow.layer_after(norm)
        if isinstance(layer, Obstacle):
            raise FoldError(
                f"batch norm {norm.target} cannot be folded: {before.reason}; and {layer.reason}"
            )
        steps[norm] = _absorb(flow, norm, layer, "before")
    if input_scale != 1.0:
        _scale_input(flow, input_scale)
    return Folding(flow.network(), tuple(steps[norm] for norm in norms))


def chain(model: nn.Sequential) -> Iterable[tuple[str, nn.Module]]:
    """Return all layers in order with their names; named_children() omits repeated ones."""
    return model._modules.items()


def _check_mode(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if module.training:
            place = f"layer {name} is" if name else "the network is"
            raise FoldError(
                f"{place} in train mode, where batch norm uses each batch's own statistics: "
                "call .eval() first"
            )
        for key, value in (
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ):
            if is_lazy(value) or value.is_meta:
                raise FoldError(
                    f"layer {name} has a {key} without numbers: load them, or let the network "
                    "infer its shapes from a batch, before folding it"
                )


def _check_norm(flow: Dataflow, norm: fx.Node) -> None:
    """Check that a batch norm is a constant affine map and is used only once."""
    name, module = norm.target, flow.batch_norm(norm)
    if type(module) not in NORMS:
        known = ", ".join(kind.__name__ for kind in NORMS)
        raise FoldError(
            f"batch norm {name} is a {type(module).__name__}, which may compute anything: only "
            f"{known} themselves can be folded"
        )
    if reason := flow.not_its_own(norm):
        raise FoldError(f"batch norm {name} is a {type(module).__name__}, {reason}")


def _absorb(
    flow: Dataflow, norm: fx.Node, layer: fx.Node, side: Literal["after", "before"]
) -> Step:
    """Fold a batch norm into a float64 layer, and remove it from the network."""
    name, module, into = str(norm.target), flow.batch_norm(norm), flow.layer(layer)
    _check_numbers(f"batch norm {name}", dict(module.state_dict()))
    _check_numbers(f"layer {layer.target}", dict(into.named_parameters()))
    gamma, beta, mean, var, eps = _affine_map(name, module)
    _check_variance(module, name, var, eps)
    arguments = into.weight, into.bias, gamma, beta, mean, var, eps
    if side == "before":
        weight, bias = fold_batch_norm_before(
            *arguments, groups=1 if isinstance(into, nn.Linear) else into.groups
        )
    else:
        groups = into.groups if is_transposed(into) else None
        weight, bias = fold_batch_norm(*arguments, transposed_groups=groups)
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise FoldError(
            f"batch norm {name} makes numbers of layer {layer.target} too large for float64: "
            "no trained network has such scales; train it again"
        )
    into.weight = nn.Parameter(weight.detach())
    into.register_parameter("bias", nn.Parameter(bias.detach()))
    flow.remove(norm)
    return Step(name, str(layer.target), side, conditioning(gamma, gamma / torch.sqrt(var + eps)))


def _affine_map(name: str, norm: BatchNormLike) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Return gamma, beta, mean, var, (C,) float64, and eps; affine=False is gamma 1, beta 0."""
    if isinstance(norm, BatchNorm):
        own = norm.gamma.detach(), norm.beta.detach(), norm.moving_mean, norm.moving_var
        gamma, beta, mean, var = (values.flatten() for values in own)
        return gamma, beta, mean, var, EPS
    if norm.running_mean is None or norm.running_var is None:
        raise FoldError(
            f"batch norm {name} keeps no running statistics (track_running_stats=False), so it "
            "normalises by each batch's own, in eval mode too: train it with them"
        )
    mean, var = norm.running_mean, norm.running_var
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach()
    return gamma, beta, mean, var, norm.eps


def _check_numbers(owner: str, tensors: Mapping[str, Tensor]) -> None:
    for key, value in tensors.items():
        if value.is_complex():
            raise FoldError(f"{owner} has a complex {key}: only real numbers are folded")
        if not torch.isfinite(value).all():
            raise FoldError(
                f"{owner} has a {key} that is not finite: the training diverged; train it again"
            )


def _check_variance(norm: BatchNormLike, name: str, var: Tensor, eps: float) -> None:
    key = "moving_var" if isinstance(norm, BatchNorm) else "running_var"
    lowest = float(var.min())
    if lowest < 0:
        raise FoldError(
            f"batch norm {name} has a negative {key} ({lowest:g}): no data has such a variance"
        )
    if lowest + eps <= 0:
        raise FoldError(
            f"batch norm {name} divides by zero: its {key} is {lowest:g} and its eps {eps:g}; "
            "give it an eps above 0"
        )


def _scale_input(flow: Dataflow, input_scale: float) -> None:
    """Multiply the first layer's weights: W (c x) = (c W) x. Zero padding stays zero."""
    found = flow.reader(flow.input())
    if isinstance(found, Obstacle):
        raise FoldError(
            f"the input scale cannot be folded: the network's input has no layer to put it into: "
            f"{found.reason}"
        )
    first = flow.layer(found[0])
    first.weight = nn.Parameter(first.weight.detach() * input_scale)
