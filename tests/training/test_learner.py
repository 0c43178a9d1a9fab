"""The loop learns, reproducibly, and a resumed run gives the same weights."""

import io
from dataclasses import replace
from typing import Any

import pytest
import torch

from training.data.dataset import Split
from training.data.fashion_mnist import LABELS
from training.errors import DivergenceError, RecipeError
from training.evaluation import evaluate
from training.learner import Glimpse, Learner
from training.networks.registry import NETWORKS
from training.recipes import SEED, Augmentation, Recipe

K = len(LABELS)
EVERYTHING = replace(
    SEED,
    name="everything",
    optimizer="muon",
    schedule="one_cycle",
    learning_rate=0.02,
    weight_decay=0.02,
    warm_up=0.2,
    batch_size=64,
    label_smoothing=0.1,
    augmentation=Augmentation(flip=0.5, shift=1, rotation=5, cutout=6),
    average_decay=0.99,
)
TAUGHT = replace(
    EVERYTHING,
    name="taught",
    label_smoothing=0.0,
    temperature=2.0,
    augmentation=Augmentation(flip="alternating", shift=1, cutout=6),
)
ADAMW = replace(EVERYTHING, name="adamw", optimizer="adamw", statistics="moving")


@pytest.fixture(scope="module")
def split(real: Split) -> Split:
    return Split(real.images[:700], real.labels[:700], real.digests)


def tensors(learner: Learner) -> dict[str, torch.Tensor]:
    return dict(learner.finished_network().state_dict())


def assert_bit_identical(ours: Learner, theirs: Learner) -> None:
    expected = tensors(theirs)
    for key, value in tensors(ours).items():
        assert torch.equal(value, expected[key]), key


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


# What is compiled is the loss of a batch; that from labels is compiled in the test after the next.
@pytest.mark.parametrize(
    ("recipe", "compile_step"),
    [(SEED, False), (ADAMW, False), (EVERYTHING, False), (TAUGHT, True)],
    ids=["plain-seed", "plain-adamw", "plain-everything", "compiled-taught"],
)
@pytest.mark.usefixtures("fresh_compiler")
def test_a_resumed_run_ends_bit_identical(split: Split, recipe: Recipe, compile_step: bool) -> None:
    teachers = [NETWORKS["lenet_bn"](K)] if recipe.temperature else []

    def new() -> Learner:
        return Learner(
            recipe, split, K, seed=3, epochs=4, compile_step=compile_step, teachers=teachers
        )

    whole, before, after = new(), new(), new()
    for _ in range(4):
        whole.train_epoch()
    for _ in range(2):
        before.train_epoch()
    torch.manual_seed(99)  # no global generator may matter
    after.load_state_dict(through_a_file(before.state_dict()))
    for _ in range(2):
        after.train_epoch()
    assert_bit_identical(after, whole)


def test_a_recipe_has_teachers_if_and_only_if_it_has_a_temperature(split: Split) -> None:
    with pytest.raises(RecipeError, match="'taught' learns from a teacher: name its checkpoint"):
        Learner(TAUGHT, split, K, seed=0, epochs=1)
    with pytest.raises(RecipeError, match="'seed' learns from labels: leave out --teacher"):
        Learner(SEED, split, K, seed=0, epochs=1, teachers=[NETWORKS["lenet_bn"](K)])


def test_the_seed_decides_the_weights(split: Split) -> None:
    learners = [Learner(EVERYTHING, split, K, seed, epochs=1) for seed in (5, 5, 6)]
    for number, learner in enumerate(learners):
        torch.manual_seed(number)
        learner.train_epoch()
    assert_bit_identical(learners[0], learners[1])
    with pytest.raises(AssertionError):
        assert_bit_identical(learners[0], learners[2])


@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_and_plain_learn_the_same(split: Split) -> None:
    plain, fast = (
        Learner(SEED, split, K, 0, epochs=2, compile_step=compile_step)
        for compile_step in (False, True)
    )
    for learner in (plain, fast):
        for _ in range(2):
            learner.train_epoch()
    expected = tensors(plain)
    for key, value in tensors(fast).items():
        # Other orders of summation, through 4 steps at rate 1.
        torch.testing.assert_close(value, expected[key], rtol=1e-2, atol=1e-3, msg=key)


@pytest.mark.parametrize("recipe", [SEED, ADAMW, EVERYTHING], ids=lambda recipe: recipe.name)
def test_a_small_set_is_learned(real: Split, recipe: Recipe) -> None:
    split = Split(real.images[:2560], real.labels[:2560], real.digests)
    learner = Learner(recipe, split, K, seed=0, epochs=6)
    first = learner.train_epoch()
    for _ in range(5):
        last = learner.train_epoch()
    assert last.loss < first.loss
    held = Split(real.images[5000:], real.labels[5000:], real.digests)
    assert evaluate(learner.finished_network(), held).accuracy > 0.6


def test_bfloat16_learns_with_float32_statistics(split: Split) -> None:
    learner = Learner(ADAMW, split, K, seed=0, epochs=2, precision="bfloat16")
    losses = [learner.train_epoch().loss for _ in range(2)]
    assert losses[1] < losses[0]
    plain = Learner(ADAMW, split, K, seed=0, epochs=2)
    assert plain.train_epoch().loss != losses[0]  # other roundings: it was no float32
    assert {value.dtype for value in tensors(learner).values()} == {torch.float32}


def test_glimpses_tell_steps_and_speed(split: Split) -> None:
    learner = Learner(ADAMW, split, K, seed=0, epochs=1)
    seen: list[Glimpse] = []
    epoch = learner.train_epoch(seen.append)
    assert seen[-1].step == seen[-1].steps == 700 // 64
    assert all(glimpse.images_per_second > 0 for glimpse in seen)
    assert epoch.images_per_second > 0
    assert epoch.accuracy == seen[-1].accuracy > 0


def test_fewer_images_than_a_batch_are_one_batch(real: Split) -> None:
    few = Split(real.images[:20], real.labels[:20], real.digests)
    learner = Learner(SEED, few, K, seed=0, epochs=1)
    learner.train_epoch()
    assert (learner.batch_size, learner.steps) == (20, 1)


def test_a_loss_that_is_no_number_stops_with_epoch_and_step(split: Split) -> None:
    learner = Learner(ADAMW, split, K, seed=0, epochs=2)
    learner.train_epoch()
    with torch.no_grad():
        learner.model[15].bias[0] = float("nan")
    with pytest.raises(DivergenceError) as caught:
        learner.train_epoch()
    assert "the loss became nan in epoch 2, step 1 of 10, at learning rate 0.0" in str(caught.value)


def test_a_rate_far_too_high_is_found_out(split: Split) -> None:
    recipe = replace(ADAMW, optimizer="sgd", schedule="constant", learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"epoch 1, step \d+ of 10"):
        Learner(recipe, split, K, seed=0, epochs=1).train_epoch()


def test_images_and_labels_are_left_alone(split: Split) -> None:
    images, labels = split.images.clone(), split.labels.clone()
    Learner(EVERYTHING, split, K, seed=0, epochs=1).train_epoch()
    assert torch.equal(split.images, images)
    assert torch.equal(split.labels, labels)
