"""Recipes are found by name."""

from dataclasses import replace

import pytest

from training.errors import RecipeError
from training.recipes import DISTILLED, RECIPES, SEED, find_recipe


def test_seed_is_the_notebook() -> None:
    assert (SEED.learning_rate, SEED.batch_size, SEED.epochs) == (1.0, 256, 10)
    assert (SEED.optimizer, SEED.schedule, SEED.initialization) == (
        "sgd",
        "constant",
        "xavier_uniform",
    )


@pytest.mark.parametrize("name", ["seed", "release", "resnet", "distilled"])
def test_names_lead_to_recipes(name: str) -> None:
    assert find_recipe(name) is RECIPES[name]
    assert RECIPES[name].name == name


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="no recipe 'sede': choose one of seed, release, resnet"):
        find_recipe("sede")


def test_a_recipe_with_teachers_smooths_no_labels() -> None:
    assert DISTILLED.temperature
    assert not DISTILLED.label_smoothing


def test_a_recipe_can_train_another_network() -> None:
    assert find_recipe("seed").network == "lenet_bn"
    assert find_recipe("resnet").network == "resnet_bn"
    assert find_recipe("seed", network="resnet_bn") == replace(SEED, network="resnet_bn")
