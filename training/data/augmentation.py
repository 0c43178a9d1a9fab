"""Augmentation as tensor operations on a whole batch, on the batch's device."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.data.dataset import SIDE
from training.recipes import Augmentation


def draw_views(
    count: int, how: Augmentation, generator: Generator, mirrored: Tensor | None = None
) -> Tensor:
    """Return one of V views for each of N = count images, at random.

    View (mirrored * W + y) * W + x, W = 2 shift + 1, is the image or its mirror image, padded with
    shift rows and columns of black on each side, and cropped to 28 x 28 from (y, x).

    Args:
        count: N.
        how: V is its num_views.
        generator: random generator.
        mirrored: (N,) bool, which images are mirrored; if None, drawn with probability flip.

    Returns:
        (N,) int64, 0 to V - 1, on the generator's device.
    """
    windows = 2 * how.shift + 1
    views = torch.zeros(count, dtype=torch.int64, device=generator.device)
    if how.flip:
        views += _uniform(count, generator) < float(how.flip) if mirrored is None else mirrored
    if how.shift:
        for _ in range(2):
            views = views * windows + _integers(count, windows, generator)  # (N,)
    return views


def mirrored_in_turns(count: int, epoch: int, generator: Generator) -> Tensor:
    """Return which images are mirrored in an epoch: half of them at random, the others in the next.

    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, section 3.5,
    https://arxiv.org/abs/2404.00498.

    Args:
        count: N, the number of images.
        epoch: from 0.
        generator: random generator, in the same state in every epoch.

    Returns:
        (N,) bool on the generator's device.
    """
    return (_integers(count, 2, generator) + epoch) % 2 == 1


def take_views(images: Tensor, views: Tensor, how: Augmentation) -> Tensor:
    """Return view views[i] of image i, as `draw_views` defines it.

    Args:
        images: (N, 1, 28, 28) uint8; not modified.
        views: (N,) int64.
        how: the changes that views consist of.

    Returns:
        (N, 1, 28, 28) uint8.
    """
    X = images
    windows = 2 * how.shift + 1
    if how.flip:
        mirrored = views >= windows**2  # (N,)
        X = torch.where(mirrored[:, None, None, None], X.flip(3), X)
    if how.shift:
        X = _window(X, views // windows % windows, views % windows, how.shift)
    return X


def augment(images: Tensor, views: Tensor, how: Augmentation, generator: Generator) -> Tensor:
    """Return a view of each image, changed at random in all other ways.

    Args:
        images: (N, 1, 28, 28) uint8; not modified.
        views: (N,) int64, from `draw_views`.
        how: which changes, and how strong.
        generator: random generator on the images' device.

    Returns:
        (N, 1, 28, 28), uint8 like the bytes of the data set, or float32 from 0
        to 255 if pixels were interpolated.
    """
    X = take_views(images, views, how)
    if how.rotation or how.scale:
        X = _rotate_and_scale(X, how.rotation, how.scale, generator)
    if how.cutout:
        X = _cut_out(X, how.cutout, how.cutout_probability, generator)
    return X


def _window(X: Tensor, y: Tensor, x: Tensor, margin: int) -> Tensor:
    """Return the window at y, x (N,) of each image padded with a margin of black."""
    padded = functional.pad(X, (margin,) * 4)  # (N, 1, 28 + 2 margin, 28 + 2 margin)
    windows = padded.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (N, 1, W, W, 28, 28)
    return windows[torch.arange(len(X), device=X.device), :, y, x]  # (N, 1, 28, 28)


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
