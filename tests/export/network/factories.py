"""Factories for `--network`, of correct networks and of wrong ones."""

import torch
from torch import Tensor, nn

NOT_CALLABLE = 7


def small(classes: int = 3, channels: int = 3) -> nn.Module:
    """Conv, batch norm, ReLU, pool, linear, for images of any size."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def fails() -> nn.Module:
    raise ValueError("no\nluck")


def no_module() -> object:
    return []


class Returning(nn.Module):
    def __init__(self, value: str) -> None:
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, X: Tensor) -> object:
        logits = X.mean(dim=(1, 2, 3))[:, None] * torch.ones(3)
        returned: dict[str, object] = {
            "dict": {"logits": logits},
            "tuple": (logits, logits),
            "map": X,
            "one class": logits[:, :1],
            "integers": logits.argmax(dim=1, keepdim=True).expand(-1, 3),
        }
        return returned[self.value]


class TwoInputs(nn.Module):
    def forward(self, X: Tensor, mask: Tensor) -> Tensor:
        return X * mask
