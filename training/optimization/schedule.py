"""The learning rate at each step."""

import math
from collections.abc import Callable, Mapping

from training.recipes import Recipe

# One-cycle starts at this share of the highest rate (Smith & Topin, "Super-Convergence", 2018).
ONE_CYCLE_START = 0.04


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the learning rate for a step, 0 to total_steps - 1.

        constant    learning_rate
        cosine      down from learning_rate along half a cosine wave
        one_cycle   up from 4 % of it in the first warm_up share of the steps, then
                    down, both along half a cosine wave

    Falling rates end at final_rate times learning_rate.
    """
    return recipe.learning_rate * SHAPES[recipe.schedule](recipe, step / total_steps)


def _constant(_recipe: Recipe, _progress: float) -> float:
    return 1.0


def _cosine(recipe: Recipe, progress: float) -> float:
    return _between(recipe.final_rate, 1.0, 1 - progress)


def _one_cycle(recipe: Recipe, progress: float) -> float:
    if progress < recipe.warm_up:
        return _between(ONE_CYCLE_START, 1.0, progress / recipe.warm_up)
    return _between(recipe.final_rate, 1.0, (1 - progress) / (1 - recipe.warm_up))


def _between(low: float, high: float, rise: float) -> float:
    """Return a value from low (rise 0) to high (rise 1) on half a cosine wave, flat at the ends."""
    return low + (high - low) * (1 - math.cos(math.pi * rise)) / 2


SHAPES: Mapping[str, Callable[[Recipe, float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
