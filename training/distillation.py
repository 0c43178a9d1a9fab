"""Distillation: a student learns the answers of trained networks, its teachers.

Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2,
https://arxiv.org/abs/1503.02531; Beyer et al., "Knowledge distillation: A good teacher is patient
and consistent", 2022, section 3, https://arxiv.org/abs/2106.05237: the teacher answers for exactly
the view of the image that the student sees.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.augmentation import take_views
from training.errors import RecipeError
from training.evaluation import predict
from training.recipes import Recipe


class SoftTargets:
    """The teachers' answers for all V views of all N images: a table, computed once.

        log p = log mean_m softmax(z_m / T)

    for the logits z_m of each teacher m in eval mode, and the recipe's temperature T.
    """

    def __init__(self, recipe: Recipe, teachers: Sequence[nn.Sequential], images: Tensor) -> None:
        """Take teachers and images (N, 1, 28, 28) uint8 on one device; compute nothing yet."""
        self.recipe, self.teachers, self.images = recipe, teachers, images
        self._table: Tensor | None = None

    def table(self) -> Tensor:
        """Return log p (V, N, K) float32, computed at the first call."""
        if self._table is None:
            views = range(self.recipe.augmentation.num_views)
            self._table = torch.stack([self._answers(view) for view in views])
        return self._table

    def _answers(self, view: int) -> Tensor:
        """Return log p (N, K) for one view of all images."""
        images = self.images
        chosen = torch.full((len(images),), view, device=images.device)  # (N,)
        X = take_views(images, chosen, self.recipe.augmentation)  # (N, 1, 28, 28)
        logits = torch.stack([predict(teacher, X) for teacher in self.teachers])  # (M, N, K)
        log_p = functional.log_softmax(logits / self.recipe.temperature, 2)  # (M, N, K)
        return log_p.logsumexp(0) - math.log(len(self.teachers))  # (N, K)

    def at(self, views: Tensor, chosen: Tensor) -> Tensor:
        """Return log p (n, K) for a view of each of n images; both are numbers, (n,) int64."""
        return self.table()[views, chosen]


def soft_targets(
    recipe: Recipe, teachers: Sequence[nn.Sequential], images: Tensor
) -> SoftTargets | None:
    """Return what a student learns besides labels; None if the recipe learns from labels alone.

    Raises:
        RecipeError: the recipe needs a teacher and there is none, or the reverse.
    """
    if recipe.temperature and not teachers:
        raise RecipeError(
            f"recipe {recipe.name!r} learns from a teacher: name its checkpoint with --teacher"
        )
    if teachers and not recipe.temperature:
        raise RecipeError(f"recipe {recipe.name!r} learns from labels: leave out --teacher")
    return SoftTargets(recipe, teachers, images) if teachers else None


def distillation_loss(logits: Tensor, log_p: Tensor, temperature: float) -> Tensor:
    """Return the student's mean divergence from its teachers, a scalar.

        T^2 mean_n sum_k p_nk (log p_nk - log q_nk),    q = softmax(logits / T)

    T^2 keeps the size of the gradient when T changes (Hinton et al., section 2).

    Args:
        logits: (N, K) float32, the student's.
        log_p: (N, K) float32, from `SoftTargets`.
        temperature: T.
    """
    log_q = functional.log_softmax(logits / temperature, 1)  # (N, K)
    divergence = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
