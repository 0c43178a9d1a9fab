"""Augmentation as tensor operations on a whole batch, on the batch's device."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.data.dataset import SIDE
from training.recipes import Augmentation


def augment(images: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """Return the images, each changed at random.

    Args:
        images: (N, 1, 28, 28) uint8; not modified.
        how: which changes, and how strong.
        generator: random generator on the images' device.

    Returns:
        (N, 1, 28, 28), uint8 like the bytes of the data set, or float32 from 0
        to 255 if pixels were interpolated.
    """
    X = images
    if how.flip:
        X = _flip(X, how.flip, generator)
    if how.shift:
        X = _shift(X, how.shift, generator)
    if how.rotation or how.scale:
        X = _rotate_and_scale(X, how.rotation, how.scale, generator)
    if how.cutout:
        X = _cut_out(X, how.cutout, how.cutout_probability, generator)
    return X


def _flip(X: Tensor, probability: float, generator: Generator) -> Tensor:
    chosen = _uniform(len(X), generator) < probability  # (N,)
    return torch.where(chosen[:, None, None, None], X.flip(3), X)


def _shift(X: Tensor, most: int, generator: Generator) -> Tensor:
    """Shift each image by whole pixels: choose a random window of the image padded with black."""
    N, windows = len(X), 2 * most + 1
    padded = functional.pad(X, (most, most, most, most))  # (N, 1, 28 + 2 most, 28 + 2 most)
    views = padded.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (N, 1, windows, windows, 28, 28)
    dy, dx = (_integers(N, windows, generator) for _ in range(2))  # (N,)
    return views[torch.arange(N, device=X.device), :, dy, dx]  # (N, 1, 28, 28)


def _rotate_and_scale(X: Tensor, degrees: float, scale: float, generator: Generator) -> Tensor:
    N = len(X)
    angle = _symmetric(N, math.radians(degrees), generator)  # (N,)
    sy, sx = (1 + _symmetric(N, scale, generator) for _ in range(2))  # (N,)
    zero = torch.zeros_like(angle)
    rows = [
        torch.stack([angle.cos() * sx, -angle.sin() * sx, zero], dim=1),  # (N, 3)
        torch.stack([angle.sin() * sy, angle.cos() * sy, zero], dim=1),  # (N, 3)
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(X.shape), align_corners=False)
    return functional.grid_sample(X.to(torch.float32), grid, align_corners=False)  # (N, 1, 28, 28)


def _cut_out(X: Tensor, side: int, probability: float, generator: Generator) -> Tensor:
    """Paint a square black, with its centre anywhere in the image (DeVries & Taylor, 2017)."""
    N = len(X)
    chosen = _uniform(N, generator) < probability  # (N,)
    first = [_integers(N, SIDE, generator) - side // 2 for _ in range(2)]  # (N,) each
    pixel = torch.arange(SIDE, device=X.device)  # (28,)
    rows, columns = ((pixel >= f[:, None]) & (pixel < f[:, None] + side) for f in first)  # (N, 28)
    square = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, 28, 28)
    return X.masked_fill(square & chosen[:, None, None, None], 0)


def _uniform(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _symmetric(count: int, most: float, generator: Generator) -> Tensor:
    return (2 * _uniform(count, generator) - 1) * most


def _integers(count: int, below: int, generator: Generator) -> Tensor:
    return torch.randint(below, (count,), generator=generator, device=generator.device)
