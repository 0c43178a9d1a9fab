"""Convert a data set's bytes to the network's input."""

import torch
from torch import Tensor

WHITE = 255


def to_float(images: Tensor) -> Tensor:
    """Scale (N, 1, 28, 28), uint8 or float32 from 0 to 255, to float32 from 0 to 1."""
    return images.to(torch.float32) / WHITE
