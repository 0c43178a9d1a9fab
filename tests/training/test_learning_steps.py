"""What a learner does in each step, seen from its network: images, mode, precision, rate, loss."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from training.batch_norm import BatchNorm
from training.data.dataset import Split
from training.data.pixels import to_float
from training.distillation import SoftTargets
from training.learner import STATISTICS_BATCH, Learner
from training.optimization.initialization import initial_network
from training.optimization.schedule import learning_rate
from training.population_statistics import with_population_statistics
from training.recipes import SEED, Augmentation

N, BATCH, K = 200, 16, 10
STEPS = N // BATCH
STILL = replace(SEED, batch_size=BATCH, learning_rate=0.0)  # learns nothing, so that all is known


@pytest.fixture(scope="module")
def numbered() -> Split:
    """Each image has a single shade, its own number."""
    shades = torch.arange(N, dtype=torch.uint8).reshape(N, 1, 1, 1)
    return Split(shades.repeat(1, 1, 28, 28), torch.arange(N) % K, {})


@pytest.fixture(scope="module")
def split(real: Split) -> Split:
    return Split(real.images[:N], real.labels[:N], real.digests)


class Watched:
    """A learner, and what its network was given and gave in each step."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.learner = Learner(*arguments, **named)
        self.inputs: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.modes: list[bool] = []
        self.rates: list[list[float]] = []
        self.dtypes: set[torch.dtype] = set()
        self.learner.model.register_forward_hook(self._note)
        self.learner.model[0].register_forward_hook(lambda *call: self.dtypes.add(call[2].dtype))

    def _note(self, model: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.inputs.append(inputs[0].clone())
        self.logits.append(output.detach().clone())
        self.modes.append(all(module.training for module in model.modules()))
        groups = [group for o in self.learner.optimizers for group in o.param_groups]
        self.rates.append([group["lr"] for group in groups])


def order(split: Split, seed: int, epoch: int) -> list[int]:
    """The numbers of the images, in the order of an epoch."""
    watched = Watched(STILL, split, K, seed, epochs=9)
    watched.learner.epoch = epoch
    watched.learner.train_epoch()
    shown = torch.cat(watched.inputs)[:, 0, 0, 0] * 255  # (STEPS * BATCH,)
    return [int(number) for number in shown.round()]


def test_every_seed_and_epoch_has_an_order_of_its_own(numbered: Split) -> None:
    orders = {(s, e): order(numbered, s, e) for s in (0, 1, 2) for e in (0, 1, 2)}
    for found in orders.values():
        assert len(set(found)) == STEPS * BATCH  # no image twice
        assert found != sorted(found)
    assert len(set(map(tuple, orders.values()))) == len(orders)
    assert order(numbered, 1, 2) == orders[1, 2]


def test_one_learners_epochs_differ(numbered: Split) -> None:
    watched = Watched(STILL, numbered, K, 0, epochs=2)
    for _ in range(2):
        watched.learner.train_epoch()
    assert len(watched.inputs) == 2 * STEPS
    assert not torch.equal(torch.cat(watched.inputs[:STEPS]), torch.cat(watched.inputs[STEPS:]))


def test_the_network_learns_in_train_mode_whatever_mode_it_was_in(split: Split) -> None:
    watched = Watched(STILL, split, K, 0, epochs=1)
    watched.learner.model.eval()
    watched.learner.train_epoch()
    assert watched.modes == [True] * STEPS


def test_images_are_changed_as_the_recipe_says_and_anew_in_every_epoch(split: Split) -> None:
    mirrored = replace(STILL, augmentation=Augmentation(flip=1.0))
    plain, always = (Watched(recipe, split, K, 0, epochs=1) for recipe in (STILL, mirrored))
    for watched in (plain, always):
        watched.learner.train_epoch()
    # The order is drawn first, so that both see the same images.
    for image, mirror in zip(plain.inputs, always.inputs, strict=True):
        assert torch.equal(mirror, image.flip(3))

    one = Split(split.images[:1].repeat(BATCH, 1, 1, 1), split.labels[:1].repeat(BATCH), {})
    shifting = replace(STILL, augmentation=Augmentation(shift=1))
    watched = Watched(shifting, one, K, 0, epochs=2)
    for _ in range(2):
        watched.learner.train_epoch()
    first, second = watched.inputs
    assert not torch.equal(first, second)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_cross_entropy_with_smoothed_labels(split: Split, smoothing: float) -> None:
    """(1 - a) times the true class's -log p, and a times the mean of all classes'."""
    learner = Learner(
        replace(STILL, label_smoothing=smoothing, batch_size=N), split, K, 0, epochs=1
    )
    logits = initial_network(STILL, K, 0).train()(to_float(split.images)).detach()  # (N, K)
    surprise = -logits.double().log_softmax(1)  # (N, K)
    true = surprise[torch.arange(N), split.labels]  # (N,)
    expected = float(((1 - smoothing) * true + smoothing * surprise.mean(1)).mean())
    assert learner.train_epoch().loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("flip", [0.5, "alternating"])
def test_the_loss_is_the_divergence_from_the_teachers_answer_for_what_the_student_saw(
    split: Split, trained: nn.Sequential, flip: float | Literal["alternating"]
) -> None:
    T = 3.0
    recipe = replace(STILL, temperature=T, augmentation=Augmentation(flip, shift=1))
    watched = Watched(recipe, split, K, 0, epochs=1, teachers=[trained])
    found = watched.learner.train_epoch().loss
    losses = []
    for X, logits in zip(watched.inputs, watched.logits, strict=True):
        with torch.no_grad():
            p = (trained(X).double() / T).softmax(1)  # (BATCH, K)
        log_q = (logits.double() / T).log_softmax(1)
        losses.append(T**2 * float((p * (p.log() - log_q)).sum(1).mean()))
    assert found == pytest.approx(sum(losses) / STEPS, rel=1e-4)


def test_only_the_student_sees_more_than_the_view(split: Split, trained: nn.Sequential) -> None:
    how = Augmentation(cutout=28, cutout_probability=1.0)
    covered = replace(STILL, temperature=2.0, augmentation=how)
    watched = Watched(covered, split, K, 0, epochs=1, teachers=[trained])
    watched.learner.train_epoch()
    assert watched.learner.soft_targets is not None
    plain = SoftTargets(replace(covered, augmentation=Augmentation()), [trained], split.images)
    assert torch.equal(watched.learner.soft_targets.table(), plain.table())
    assert any((image[0] == 0).any(1).all() for image in torch.cat(watched.inputs))


def test_alternating_flips_mirror_each_image_in_every_other_epoch(split: Split) -> None:
    recipe = replace(STILL, augmentation=Augmentation("alternating"))
    watched = Watched(recipe, split, K, 0, epochs=3)
    found: list[dict[int, bool]] = []
    for epoch in range(3):
        watched.learner.train_epoch()
        shown = torch.cat(watched.inputs[epoch * STEPS :]).flatten(1)  # (STEPS * BATCH, 784)
        plain = torch.cdist(shown, to_float(split.images).flatten(1))  # (STEPS * BATCH, N)
        mirror = torch.cdist(shown, to_float(split.images.flip(3)).flatten(1))
        numbers = torch.minimum(plain, mirror).argmin(1)
        mirrored = mirror.amin(1) < plain.amin(1)
        found.append(dict(zip(numbers.tolist(), mirrored.tolist(), strict=True)))
    for before, after in pairwise(found):
        for number in before.keys() & after.keys():
            assert before[number] != after[number]
    assert 0 < sum(found[0].values()) < STEPS * BATCH


def test_an_epochs_loss_and_accuracy_are_those_of_all_its_batches(split: Split) -> None:
    watched = Watched(STILL, split, K, 0, epochs=1)
    shown: list[tuple[int, float]] = []
    epoch = watched.learner.train_epoch(lambda now: shown.append((now.step, now.accuracy)))
    pictures = to_float(split.images).flatten(1)  # (N, 784)
    right, losses = [], []
    for images, logits in zip(watched.inputs, watched.logits, strict=True):
        chosen = torch.cdist(images.flatten(1), pictures).argmin(1)  # (BATCH,)
        labels = split.labels[chosen]
        right.append(int((logits.argmax(1) == labels).sum()))
        losses.append(float(nn.functional.cross_entropy(logits, labels)))
    assert len(set(right)) > 1  # else one batch's would do
    assert epoch.accuracy == sum(right) / (STEPS * BATCH)
    assert epoch.loss == pytest.approx(sum(losses) / STEPS, rel=1e-5)
    assert shown[-1] == (STEPS, epoch.accuracy)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_the_layers_compute_in_the_precision_asked_for(
    split: Split, precision: str, dtype: torch.dtype
) -> None:
    watched = Watched(STILL, split, K, 0, epochs=1, precision=precision)
    watched.learner.train_epoch()
    assert watched.dtypes == {dtype}
    assert {value.dtype for value in watched.learner.model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_every_parameter_learns(split: Split, optimizer: str) -> None:
    recipe = replace(STILL, optimizer=optimizer, learning_rate=0.01)
    learner = Learner(recipe, split, K, 0, epochs=1)
    before = {name: value.detach().clone() for name, value in learner.model.named_parameters()}
    learner.train_epoch()
    for name, value in learner.model.named_parameters():
        # A bias before a batch norm has no gradient but rounding.
        if not name.endswith("bias") or name == "15.bias":
            assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_the_rate_follows_the_schedule_from_step_to_step_over_all_epochs(
    split: Split, optimizer: str
) -> None:
    recipe = replace(
        STILL, optimizer=optimizer, schedule="one_cycle", learning_rate=0.01, warm_up=0.3
    )
    watched = Watched(recipe, split, K, 0, epochs=3)
    for _ in range(3):
        watched.learner.train_epoch()
    expected = [learning_rate(recipe, step, 3 * STEPS) for step in range(3 * STEPS)]
    assert len(set(expected)) == 3 * STEPS
    assert watched.rates == [[rate] * len(watched.rates[0]) for rate in expected]


def test_the_average_is_what_is_judged_and_kept(split: Split) -> None:
    recipe = replace(STILL, learning_rate=0.1, average_decay=0.9, statistics="moving")
    learner = Learner(recipe, split, K, 0, epochs=1)
    learner.train_epoch()
    assert learner.average is not None
    assert learner.average.updates == STEPS
    assert learner.trained_network() is learner.finished_network() is learner.average.model
    assert not torch.equal(learner.average.model[0].weight, learner.model[0].weight)


def test_the_finished_network_has_the_statistics_that_the_recipe_asks_for(split: Split) -> None:
    moving, again = (
        Learner(replace(STILL, statistics=statistics), split, K, 0, epochs=1)
        for statistics in ("moving", "reestimated")
    )
    for learner in (moving, again):
        learner.train_epoch()
    assert moving.finished_network() is moving.model
    found = again.finished_network()
    expected = with_population_statistics(again.model, split.images, STATISTICS_BATCH)
    for ours, theirs, old in zip(found, expected, again.model, strict=True):
        if isinstance(ours, BatchNorm):
            assert torch.equal(ours.moving_mean, theirs.moving_mean)
            assert torch.equal(ours.moving_var, theirs.moving_var)
            assert not torch.equal(ours.moving_mean, old.moving_mean)
