"""The learning rate at each step."""

import math
from collections.abc import Callable, Mapping

from training.recipes import Recipe

# One-cycle starts at this share of the highest rate (Smith & Topin, "Super-Convergence", 2018).
ONE_CYCLE_START = 0.04


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the rate for a step, 0 to total_steps - 1.

    constant    learning_rate
    cosine      learning_rate * (1 + cos(pi * step / total_steps)) / 2
    one_cycle   up from 4 % in the first warm_up share of steps, then down to 0,
                both along half a cosine wave
    """
    return recipe.learning_rate * SHAPES[recipe.schedule](step / total_steps, recipe.warm_up)


def _constant(_progress: float, _warm_up: float) -> float:
    return 1.0


def _cosine(progress: float, _warm_up: float) -> float:
    return _half_wave(progress)


def _one_cycle(progress: float, warm_up: float) -> float:
    if progress < warm_up:
        return 1 - (1 - ONE_CYCLE_START) * _half_wave(progress / warm_up)
    return _half_wave((progress - warm_up) / (1 - warm_up))


def _half_wave(progress: float) -> float:
    """Fall from 1 to 0 as progress goes from 0 to 1, flat at both ends."""
    return (1 + math.cos(math.pi * progress)) / 2


SHAPES: Mapping[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
