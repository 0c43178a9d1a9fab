"""Recipes: all settings that decide what a network learns, except the seed and the data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from training.errors import RecipeError

NetworkName = Literal["lenet_bn", "resnet_bn"]


@dataclass(frozen=True)
class Augmentation:
    """How each image is changed at random in every epoch. All changes are off by default.

    A view of an image is the image or its mirror image, shifted: there are `num_views`, and
    teachers answer for each. The other changes are made to the view, for the student alone.
    """

    flip: float | Literal["alternating"] = 0.0  # probability of mirroring, or every other epoch
    shift: int = 0  # largest shift in each direction, in whole pixels
    rotation: float = 0.0  # largest rotation in both directions, in degrees
    scale: float = 0.0  # largest change of size as a share, each axis independently
    cutout: int = 0  # side of a square painted black
    cutout_probability: float = 0.5

    @property
    def num_views(self) -> int:
        """Return V, the number of views of an image."""
        return (2 if self.flip else 1) * (2 * self.shift + 1) ** 2

    def __str__(self) -> str:
        """Return the changes as text, "" if there are none."""
        share = "every other epoch" if self.flip == "alternating" else f"{self.flip:.0%} of them"
        changes = [
            (self.flip, f"mirrored ({share})"),
            (self.shift, f"shifted by up to {self.shift} pixel{'s' * (self.shift > 1)}"),
            (self.rotation, f"turned by up to {self.rotation:g} degrees"),
            (self.scale, f"scaled by up to {self.scale:.0%}"),
            (
                self.cutout,
                f"covered by a square of {self.cutout} x {self.cutout} "
                f"({self.cutout_probability:.0%} of them)",
            ),
        ]
        return ", ".join(text for amount, text in changes if amount)


@dataclass(frozen=True)
class Recipe:
    """One way to train a network."""

    name: str
    epochs: int
    learning_rate: float  # the highest one
    optimizer: Literal["sgd", "adamw", "muon"]
    schedule: Literal["constant", "cosine", "one_cycle"]
    initialization: Literal["torch", "xavier_uniform"]
    network: NetworkName = "lenet_bn"
    batch_size: int = 256
    weight_decay: float = 0.0
    warm_up: float = 0.0  # one_cycle: share of all steps in which the learning rate rises
    final_rate: float = 0.0  # cosine, one_cycle: last learning rate as a share of the highest
    label_smoothing: float = 0.0
    temperature: float = 0.0  # of teachers' answers, learned in place of labels; 0: no teachers
    augmentation: Augmentation = Augmentation()
    average_decay: float | None = None  # of the moving average of weights and statistics
    statistics: Literal["moving", "reestimated"] = "moving"  # those in the checkpoint


# The notebook. At a constant learning rate of 1.0 the weights change faster than the
# moving statistics, which average about 10 batches, so that the accuracy with them is
# random (0.68 to 0.88 from one epoch to the next). The weights are the notebook's; the
# checkpoint gets statistics that fit them. docs/training.md shows both.
SEED = Recipe(
    name="seed",
    epochs=10,
    learning_rate=1.0,
    optimizer="sgd",
    schedule="constant",
    initialization="xavier_uniform",
    statistics="reestimated",
)

# Chosen on a validation split; docs/training.md shows the effect of each part. A final
# learning rate above zero and cutout prevent overfitting, which otherwise starts after
# about 65 epochs; averaging the weights compensates for the noise of that rate.
RELEASE = Recipe(
    name="release",
    epochs=70,
    learning_rate=0.02,
    optimizer="muon",
    schedule="one_cycle",
    initialization="torch",
    weight_decay=0.02,
    warm_up=0.2,
    final_rate=0.1,
    augmentation=Augmentation(flip=0.5, shift=1, cutout=8),
    average_decay=0.9995,
)

# Not tuned. With more parameters than LeNet-BN it would sooner be sure of its training images,
# which label smoothing and a larger square prevent; the average is over fewer steps.
RESNET = replace(
    RELEASE,
    name="resnet",
    network="resnet_bn",
    epochs=40,
    final_rate=0.02,
    label_smoothing=0.1,
    augmentation=Augmentation(flip=0.5, shift=2, cutout=10),
    average_decay=0.999,
)

# Not tuned yet. Beyer et al., "Knowledge distillation: A good teacher is patient and consistent",
# 2022, https://arxiv.org/abs/2106.05237: teacher and student see the same view, for many epochs.
DISTILLED = replace(
    RELEASE,
    name="distilled",
    epochs=300,
    temperature=2.0,
    augmentation=Augmentation(flip="alternating", shift=1),
    average_decay=0.9998,
)

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in (SEED, RELEASE, RESNET, DISTILLED)
}


def find_recipe(name: str, *, network: NetworkName | None = None, flip: bool = True) -> Recipe:
    """Return the recipe with a name.

    Args:
        name: one of `RECIPES`.
        network: the network to train with it; else the recipe's own.
        flip: whether to keep the recipe's mirror images.

    Raises:
        RecipeError: there is no recipe with that name.
    """
    try:
        recipe = RECIPES[name]
    except KeyError:
        known = ", ".join(RECIPES)
        raise RecipeError(f"there is no recipe {name!r}: choose one of {known}") from None
    if network is not None:
        recipe = replace(recipe, network=network)
    if not flip:
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, flip=0.0))
    return recipe
