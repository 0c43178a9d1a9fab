"""Recipes are found by name."""

import pytest

from training.errors import RecipeError
from training.recipes import RECIPES, SEED, find_recipe


def test_seed_is_the_notebook() -> None:
    assert (SEED.learning_rate, SEED.batch_size, SEED.epochs) == (1.0, 256, 10)
    assert (SEED.optimizer, SEED.schedule, SEED.initialization) == (
        "sgd",
        "constant",
        "xavier_uniform",
    )


@pytest.mark.parametrize("name", ["seed", "release"])
def test_names_lead_to_recipes(name: str) -> None:
    assert find_recipe(name) is RECIPES[name]
    assert RECIPES[name].name == name


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="no recipe 'sede': choose one of seed, release"):
        find_recipe("sede")
