"""The training loop, epoch by epoch, entirely on the device."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.data.augmentation import augment, draw_views, mirrored_in_turns
from training.data.dataset import Split
from training.data.pixels import to_float
from training.distillation import distillation_loss, soft_targets
from training.errors import DivergenceError
from training.execution.compilation import compiled
from training.execution.devices import synchronize
from training.optimization.initialization import initial_network
from training.optimization.moving_average import MovingAverage
from training.optimization.optimizers import build_optimizers, set_learning_rate
from training.optimization.schedule import learning_rate
from training.population_statistics import with_population_statistics
from training.recipes import Recipe

Precision = Literal["float32", "bfloat16"]
STATISTICS_BATCH = 1000
STEPS_PER_LOOK = 20  # steps after which the host waits for the device and reads the loss
STEPS_TO_WARM_UP = 5  # not counted in the speed: compilation, caches, allocations
EPOCHS_PER_SEED = (
    1_000_003  # more than any run has, so that each epoch of each run has its own seed
)


@dataclass(frozen=True)
class Glimpse:
    """Progress within an epoch."""

    step: int  # steps done in this epoch
    steps: int
    loss: float  # of the latest batch
    accuracy: float  # of the epoch so far
    images_per_second: float


@dataclass(frozen=True)
class TrainedEpoch:
    """The results of an epoch, measured on its own batches during training."""

    loss: float
    accuracy: float
    images_per_second: float


class Learner:
    """A network in training, with the complete state of the training."""

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        num_classes: int,
        seed: int,
        *,
        epochs: int,
        precision: Precision = "float32",
        compile_step: bool = False,
        teachers: Sequence[nn.Sequential] = (),
    ) -> None:
        """Build the network on the device that holds the split, and the teachers.

        Raises:
            RecipeError: the recipe needs a teacher and there is none, or the reverse.
        """
        self.recipe, self.split, self.seed, self.epochs = recipe, split, seed, epochs
        self.device = split.images.device
        self.soft_targets = soft_targets(recipe, teachers, split.images)
        self.batch_size = min(recipe.batch_size, len(split))
        # The last images of an epoch's order that do not fill a batch are skipped in this epoch.
        self.steps = len(split) // self.batch_size
        model = initial_network(recipe, num_classes, seed).to(self.device)
        # These convolutions are fastest with the channels-last layout.
        self.model = model.to(memory_format=torch.channels_last)
        self.optimizers = build_optimizers(recipe, self.model)
        self.average = (
            None
            if recipe.average_decay is None
            else MovingAverage(self.model, recipe.average_decay)
        )
        self.precision = precision
        self.epoch = 0  # epochs done
        self._loss = compiled(self._batch_loss) if compile_step else self._batch_loss

    def train_epoch(self, on_glimpse: Callable[[Glimpse], None] = lambda _: None) -> TrainedEpoch:
        """Train one epoch on the images in a new random order.

        The order and the augmentation depend only on the seed and the epoch's
        number, so that no random state has to be saved to resume a run.

        Raises:
            DivergenceError: the loss became infinite or NaN.
        """
        generator = self._generator(self.epoch)
        order = torch.randperm(len(self.split), generator=generator, device=self.device)  # (N,)
        losses = torch.zeros(self.steps, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        clock = _Clock(self.device, self.batch_size, min(STEPS_TO_WARM_UP, self.steps // 2))
        mirrored = self._mirrored()
        self.model.train()
        for step in range(self.steps):
            losses[step], hits = self._step(order, step, generator, mirrored)
            correct += hits
            clock.tick(step + 1)
            if (step + 1) % STEPS_PER_LOOK == 0 or step + 1 == self.steps:
                self._check(losses, step + 1)
                so_far = int(correct) / ((step + 1) * self.batch_size)
                speed = clock.images_per_second()
                on_glimpse(Glimpse(step + 1, self.steps, float(losses[step]), so_far, speed))
        self.epoch += 1
        images = self.steps * self.batch_size
        return TrainedEpoch(float(losses.mean()), int(correct) / images, clock.images_per_second())

    def _generator(self, epoch: int) -> Generator:
        return Generator(self.device).manual_seed(self.seed * EPOCHS_PER_SEED + epoch)

    def _mirrored(self) -> Tensor | None:
        """Return which images (N,) are mirrored in this epoch; None if each batch draws its own."""
        if self.recipe.augmentation.flip != "alternating":
            return None
        return mirrored_in_turns(len(self.split), self.epoch, self._generator(EPOCHS_PER_SEED - 1))

    def _step(
        self, order: Tensor, step: int, generator: Generator, mirrored: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Train on one batch; return its loss and its number of correct predictions, as scalars."""
        set_learning_rate(self.optimizers, self.rate_at(step))
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]  # (N,)
        how = self.recipe.augmentation
        views = draw_views(
            len(chosen), how, generator, None if mirrored is None else mirrored[chosen]
        )  # (N,)
        images = augment(self.split.images[chosen], views, how, generator)
        log_p = None if self.soft_targets is None else self.soft_targets.at(views, chosen)
        loss, hits = self._loss(images, self.split.labels[chosen], log_p)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average is not None:
            self.average.update(self.model)
        return loss.detach(), hits

    def _batch_loss(
        self, images: Tensor, labels: Tensor, log_p: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the number of hits.

        Args:
            images: (N, 1, 28, 28) uint8 or float32.
            labels: (N,) int64.
            log_p: (N, K) float32, the teachers' answers if the loss is the divergence from them.
        """
        use_bfloat16 = self.precision == "bfloat16"
        X = to_float(images)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=use_bfloat16):
            logits = self.model(X).to(torch.float32)  # (N, K)
        recipe = self.recipe
        loss = (
            functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            if log_p is None
            else distillation_loss(logits, log_p, recipe.temperature)
        )
        return loss, (logits.argmax(1) == labels).sum()

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step of the current epoch."""
        return learning_rate(self.recipe, self.epoch * self.steps + step, self.epochs * self.steps)

    def _check(self, losses: Tensor, done: int) -> None:
        """Raise if a loss since the last check is not a finite number."""
        recent = losses[max(0, done - STEPS_PER_LOOK) : done].tolist()
        for step, loss in enumerate(recent, start=done - len(recent)):
            if not abs(loss) < float("inf"):
                raise DivergenceError(
                    f"the loss became {loss} in epoch {self.epoch + 1}, step {step + 1} of "
                    f"{self.steps}, at learning rate {self.rate_at(step):.4g}: lower the rate "
                    "or check the data"
                )

    def trained_network(self) -> nn.Sequential:
        """Return the current network, with averaged weights if the recipe averages them."""
        return self.model if self.average is None else self.average.model

    def finished_network(self) -> nn.Sequential:
        """Return the network for the checkpoint, with the statistics that the recipe sets."""
        network = self.trained_network()
        if self.recipe.statistics == "reestimated":
            return with_population_statistics(network, self.split.images, STATISTICS_BATCH)
        return network

    def state_dict(self) -> dict[str, Any]:
        """Return the state with which `load_state_dict` continues bit by bit."""
        average = self.average
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": None if average is None else average.model.state_dict(),
            "updates": 0 if average is None else average.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from `state_dict`, in a learner with the same settings."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["updates"]


class _Clock:
    """Measures the speed after the warm-up."""

    def __init__(self, device: torch.device, batch_size: int, warm_up: int) -> None:
        self.device, self.batch_size, self.warm_up = device, batch_size, warm_up
        self.start, self.first, self.steps = time.perf_counter(), 0, 0

    def tick(self, steps: int) -> None:
        self.steps = steps
        if steps == self.warm_up:
            synchronize(self.device)
            self.start, self.first = time.perf_counter(), steps

    def images_per_second(self) -> float:
        synchronize(self.device)
        images = (self.steps - self.first) * self.batch_size
        return images / max(time.perf_counter() - self.start, 1e-9)
