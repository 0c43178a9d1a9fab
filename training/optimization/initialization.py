"""Initialize the network."""

import torch
from torch import nn

from training.networks.registry import NETWORKS
from training.recipes import Recipe


def initial_network(recipe: Recipe, num_classes: int, seed: int) -> nn.Sequential:
    """Return the recipe's network with weights that depend only on the recipe and the seed.

    "xavier_uniform" draws weights from U(-a, a), a = sqrt(6 / (fan in + fan out))
    (Glorot & Bengio 2010, equation 16) and keeps torch's initial biases, as the
    notebook does; "torch" keeps torch's weights and biases.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[recipe.network](num_classes)
        if recipe.initialization == "xavier_uniform":
            model.apply(_xavier)
    return model


def _xavier(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
