"""Evaluate a network on images that it is not trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.dataset import Split
from training.data.pixels import to_float

BATCH = 1000  # small enough that a layer's activations stay in a CPU's cache


@dataclass(frozen=True)
class Evaluation:
    """Cross entropy and accuracy over a split."""

    loss: float
    accuracy: float


def evaluate(model: nn.Sequential, split: Split) -> Evaluation:
    """Return loss and accuracy of a network in eval mode on a split on its device."""
    logits = predict(model, split.images)  # (N, K)
    loss = functional.cross_entropy(logits.to(torch.float64), split.labels)
    accuracy = (logits.argmax(1) == split.labels).to(torch.float64).mean()
    return Evaluation(float(loss), float(accuracy))


def predict(model: nn.Sequential, images: Tensor) -> Tensor:
    """Return logits (N, K) in eval mode for images (N, 1, 28, 28) uint8; the mode is restored."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(to_float(batch)) for batch in torch.split(images, BATCH)])
    finally:
        model.train(was_training)
