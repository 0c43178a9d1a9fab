"""Which optimiser moves which tensor."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from training.optimization.muon import Muon
from training.recipes import Recipe

LAST_WEIGHT = "15.weight"
MUON_MOMENTUM = 0.95  # its authors'


def build_optimizers(recipe: Recipe, model: nn.Module) -> list[Optimizer]:
    """Build the recipe's optimisers; each parameter belongs to exactly one.

    "muon" moves the weights of the hidden layers, and AdamW moves the rest: the
    last layer, biases, gamma and beta. SGD and AdamW come in their fused form,
    one kernel for all tensors rather than one per tensor.
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
    hidden = {
        name: parameter
        for name, parameter in parameters.items()
        if name.endswith("weight") and name != LAST_WEIGHT
    }
    rest = {name: value for name, value in parameters.items() if name not in hidden}
    muon = Muon(hidden.values(), recipe.learning_rate, MUON_MOMENTUM, recipe.weight_decay)
    return [_adamw(recipe, rest), muon]


def _adamw(recipe: Recipe, parameters: Mapping[str, Tensor]) -> Optimizer:
    return AdamW(
        parameters.values(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def set_learning_rate(optimizers: list[Optimizer], rate: float) -> None:
    """Set the rate of the coming step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
