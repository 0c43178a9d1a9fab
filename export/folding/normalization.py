"""What an image's bytes become before the network sees them."""

from dataclasses import dataclass

import torch
from torch import Tensor

BYTE = 255.0


@dataclass(frozen=True)
class Normalization:
    """What an image's bytes become: (byte / 255 - mean) / std, one number a channel.

    Without mean and std it is byte / 255.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def factors(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return 255 mean and 1 / (255 std), (C,) float64 each."""
        mean, std = (
            torch.tensor(value * channels if len(value) == 1 else value, dtype=torch.float64)
            for value in (self.mean, self.std)
        )
        return BYTE * mean, 1 / (BYTE * std)
