"""What a network takes: images of C x H x W bytes, normalised by mean and standard deviation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from export.errors import NetworkError

CHANNELS = (1, 3)


@dataclass(frozen=True)
class InputFormat:
    """The shape of one image, and how its bytes become the network's input.

    x = (byte / 255 - mean) / std, for each channel.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]  # (C,), of images in [0, 1]
    std: tuple[float, ...]  # (C,), above 0

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> Self:
        """Return the format of images, after checking it.

        Args:
            shape: (C, H, W); C is 1 or 3.
            mean: of images in [0, 1]; one number, or one for each channel.
            std: the same.

        Raises:
            NetworkError: a number is not what it should be.
        """
        if len(shape) != 3 or min(shape) < 1 or shape[0] not in CHANNELS:
            raise NetworkError(
                f"images of {'x'.join(map(str, shape))}: expected CxHxW with 1 or 3 channels, "
                "such as 3x224x224"
            )
        channels, height, width = shape
        means, stds = _spread("mean", mean, channels), _spread("std", std, channels)
        if min(stds) <= 0:
            raise NetworkError(f"std {_list(stds)}: expected numbers above 0")
        return cls(channels, height, width, means, stds)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return self.channels, self.height, self.width

    def normalise(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (N, C, H, W) uint8 images as the network's input, computed in dtype."""
        mean, std = (
            torch.tensor(values, dtype=dtype).reshape(-1, 1, 1)  # (C, 1, 1)
            for values in (self.mean, self.std)
        )
        return (images.to(dtype) / 255 - mean) / std  # (N, C, H, W)

    def __str__(self) -> str:
        """Return the shape as `--image` takes it."""
        return "x".join(map(str, self.shape))


def _spread(name: str, values: float | Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one number for each channel."""
    given = tuple(values) if isinstance(values, Sequence) else (values,)
    numbers = tuple(map(float, given))
    if not all(map(math.isfinite, numbers)):
        raise NetworkError(f"{name} {_list(numbers)}: expected finite numbers")
    if len(numbers) not in (1, channels):
        raise NetworkError(
            f"{name} {_list(numbers)} has {len(numbers)} numbers: expected one, or one for each "
            f"of the {channels} channels"
        )
    return numbers if len(numbers) == channels else numbers * channels


def _list(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
