"""Assign an optimiser to each tensor."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.networks.registry import last_weight
from training.optimization.muon import Muon
from training.recipes import Recipe

MUON_MOMENTUM = 0.95  # from Muon's authors


def build_optimizers(recipe: Recipe, model: nn.Sequential) -> list[Optimizer]:
    """Return the recipe's optimisers; each parameter belongs to exactly one.

    With "muon", Muon updates the weights of the hidden layers, and AdamW the rest:
    the last layer, biases, gamma and beta. SGD and AdamW are fused: one kernel for
    all tensors instead of one per tensor.
    """
    parameters = dict(model.named_parameters())
    if recipe.optimizer == "sgd":
        return [
            torch.optim.SGD(
                parameters.values(),
                recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                fused=True,
            )
        ]
    if recipe.optimizer == "adamw":
        return [_adamw(recipe, parameters)]
    last = last_weight(model)
    hidden = {
        name: parameter
        for name, parameter in parameters.items()
        if name.endswith("weight") and name != last
    }
    rest = {name: value for name, value in parameters.items() if name not in hidden}
    muon = Muon(hidden.values(), recipe.learning_rate, MUON_MOMENTUM, recipe.weight_decay)
    return [_adamw(recipe, rest), muon]


def _adamw(recipe: Recipe, parameters: Mapping[str, Tensor]) -> Optimizer:
    return AdamW(
        parameters.values(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def set_learning_rate(optimizers: list[Optimizer], rate: float) -> None:
    """Set the learning rate of the next step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
