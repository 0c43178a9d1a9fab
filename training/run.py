"""Run the training, from the settings to the checkpoint."""

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from training.console.interruption import Interrupted, Interruption
from training.console.progress import ProgressDisplay
from training.data.choice import Data, load_data
from training.errors import DivergenceError, RunError
from training.evaluation import evaluate
from training.execution.compilation import should_compile
from training.execution.devices import choose_device, set_up
from training.execution.versions import software_versions
from training.figures.curves import curves_figure
from training.figures.png import png_bytes
from training.files.checkpoint import checkpoint_bytes
from training.files.history import Epoch
from training.files.run_directory import RunDirectory
from training.learner import Glimpse, Learner
from training.recipes import find_recipe
from training.settings import TrainingSettings
from training.teachers import load_teachers

AT_EACH_START = {"out", "resume", "overwrite"}  # settings that are not stored for --resume


def train(settings: TrainingSettings) -> None:
    """Train with the settings, and write all results to their folder.

    Raises:
        TrainingError: an error that the user can fix.
        Interrupted: a signal was received; the checkpoint so far is written.
    """
    directory = RunDirectory(settings.out)
    directory.check(resume=settings.resume, overwrite=settings.overwrite)
    if not settings.resume:
        return _Run(settings, directory).go_on()
    stored = directory.load_state()
    with directory.understanding_state():
        settings = settings.over(json.loads(stored["settings"]))
    run = _Run(settings, directory)
    with directory.understanding_state():
        run.go_back_to(stored)
    return run.go_on()


class _Run:
    """A run in progress."""

    def __init__(self, settings: TrainingSettings, directory: RunDirectory) -> None:
        self.directory = directory
        self.device = choose_device(settings.device)
        set_up(settings.threads)
        data = load_data(settings.data, settings.labels, validation=settings.validation)
        self.data: Data = data.to(self.device)
        self.recipe = find_recipe(
            settings.recipe, network=settings.network, flip=not settings.no_flip
        )
        self.teachers = load_teachers(
            settings.teacher, self.data.labels, validation=settings.validation
        )
        self.epochs = settings.epochs or self.recipe.epochs
        images = self.epochs * len(self.data.train)
        compiles = should_compile(settings.compile, images, self.device.type)
        self.settings = settings.model_copy(
            update={
                "epochs": self.epochs,
                "device": self.device.type,
                "threads": torch.get_num_threads(),
                "compile": "on" if compiles else "off",
            }
        )
        self.learner = Learner(
            self.recipe,
            self.data.train,
            len(self.data.labels),
            settings.seed,
            epochs=self.epochs,
            precision=settings.precision,
            compile_step=compiles,
            teachers=[teacher.model.to(self.device) for teacher in self.teachers],
        )
        self.history: list[Epoch] = []

    def go_back_to(self, stored: Mapping[str, Any]) -> None:
        """Restore a stored run, after checking that this run has the same identity."""
        before, now = json.loads(stored["identity"]), self._identity()
        for name, value in now.items():
            if before.get(name) != value:
                raise RunError(
                    f"cannot resume {self.directory.path}: its {name} was {before.get(name)!r} and "
                    f"is now {value!r}; give what it was started with, or choose another --out"
                )
        self.learner.load_state_dict(stored["learner"])
        self.history = [Epoch.from_state(state) for state in stored["history"]]

    def go_on(self) -> None:
        """Train the remaining epochs, then write the results."""
        done = len(self.history)
        held_name = self.data.held_name
        self.directory.begin(resume=self.settings.resume)
        self.directory.write_log("start", epochs_done=done, **self._identity())
        self._save_state()  # so that a run can resume even without a complete epoch
        for line in self._introduction():
            print(line, flush=True)
        if self.learner.soft_targets is not None:
            table = self.learner.soft_targets.table()
            print(f"the answers take {table.nbytes / 1e6:.1f} MB", flush=True)
        with Interruption() as interruption, ProgressDisplay(self.epochs, done, held_name) as shown:

            def on_glimpse(now: Glimpse) -> None:
                shown.glimpse(now)
                interruption.check()

            try:
                for _ in range(done, self.epochs):
                    epoch = self._one_epoch(on_glimpse)
                    shown.epoch(epoch)
                    interruption.check()
            except Interrupted as reason:
                self._write_interrupted(str(reason))
                shown.say(
                    f"stopped with {len(self.history)} of {self.epochs} epochs done; "
                    f"{self.directory.checkpoint} has the network so far, --resume continues"
                )
                raise
            metrics = self._write_finished()
            accuracy = metrics[f"{held_name}_accuracy"]
            shown.say(f"{held_name} accuracy {accuracy:.4f}; wrote {self.directory.checkpoint}")
            if self.recipe.statistics == "reestimated":
                shown.say(
                    "the epochs' accuracies are those with moving statistics; this one is with the "
                    "checkpoint's, re-estimated over the training images"
                )

    def _one_epoch(self, on_glimpse: Callable[[Glimpse], None]) -> Epoch:
        start = time.perf_counter()
        trained = self.learner.train_epoch(on_glimpse)
        seconds = time.perf_counter() - start
        held = evaluate(self.learner.trained_network(), self.data.held)
        if not math.isfinite(held.loss):
            raise DivergenceError(
                f"the loss on the {self.data.held_name} images became {held.loss} after epoch "
                f"{self.learner.epoch}: lower the rate or check the data"
            )
        epoch = Epoch(self.learner.epoch, trained, held, seconds)
        self.history.append(epoch)
        self.directory.write_log("epoch", **epoch.as_metrics(self.data.held_name))
        self._save_state()
        return epoch

    def _save_state(self) -> None:
        self.directory.save_state(
            {
                # Not pydantic's JSON, which cannot write a path that is not Unicode.
                "settings": json.dumps(
                    self.settings.model_dump(exclude=AT_EACH_START), default=str
                ),
                "identity": json.dumps(self._identity()),
                "learner": self.learner.state_dict(),
                "history": [epoch.as_state() for epoch in self.history],
            }
        )

    def _write_finished(self) -> dict[str, Any]:
        held_name = self.data.held_name
        network = self.learner.finished_network()
        result = evaluate(network, self.data.held)
        metrics = {
            **self._metrics(),
            f"{held_name}_accuracy": result.accuracy,
            f"{held_name}_loss": result.loss,
        }
        extra = {"test_accuracy": f"{result.accuracy:.4f}"} if held_name == "test" else {}
        self._write(network, metrics, extra)
        self.directory.write_log("end", accuracy=result.accuracy, loss=result.loss)
        self.directory.remove_state()
        return metrics

    def _write_interrupted(self, reason: str) -> None:
        self._write(self.learner.finished_network(), self._metrics() | {"interrupted": reason}, {})
        self.directory.write_log("interrupted", reason=reason, epochs_done=len(self.history))

    def _write(
        self, network: nn.Sequential, metrics: Mapping[str, Any], extra: Mapping[str, str]
    ) -> None:
        checkpoint = checkpoint_bytes(network, self._metadata() | dict(extra))
        self.directory.write_results(metrics, png_bytes(curves_figure(metrics)), checkpoint)

    def _metadata(self) -> dict[str, str]:
        return {
            "network": self.recipe.network,
            "recipe": self.recipe.name,
            "seed": str(self.settings.seed),
            "epochs": str(len(self.history)),
            "labels": json.dumps(self.data.labels),
            "augmentation": json.dumps(asdict(self.recipe.augmentation)),
            "dataset": json.dumps(self.data.digests()),
            "versions": json.dumps(software_versions()),
        } | ({"teachers": json.dumps(self._teacher_records())} if self.teachers else {})

    def _metrics(self) -> dict[str, Any]:
        rates = [epoch.trained.images_per_second for epoch in self.history]
        return {
            **self._identity(),
            "epochs_done": len(self.history),
            "images_per_second": round(statistics.median(rates), 1) if rates else None,
            "training_seconds": round(sum(epoch.seconds for epoch in self.history), 1),
            "versions": software_versions(),
            "data": None if self.settings.data is None else str(self.settings.data),
            "history": [epoch.as_metrics(self.data.held_name) for epoch in self.history],
        }

    def _identity(self) -> dict[str, Any]:
        """Return everything that decides the weights: equal identities give equal weights."""
        settings = self.settings
        return {
            "network": self.recipe.network,
            "recipe": self.recipe.name,
            "recipe_values": asdict(self.recipe),
            "seed": settings.seed,
            "epochs": settings.epochs,
            "device": settings.device,
            "threads": settings.threads,
            "precision": settings.precision,
            "compile": settings.compile,
            "validation": settings.validation,
            "labels": list(self.data.labels),
            "dataset": self.data.digests(),
            "teachers": self._teacher_records(),
        }

    def _teacher_records(self) -> list[dict[str, Any]]:
        return [teacher.record() for teacher in self.teachers]

    def _introduction(self) -> Iterator[str]:
        held, train = len(self.data.held), len(self.data.train)
        yield (
            f"{self.recipe.network}, recipe {self.recipe.name}, seed {self.settings.seed}, "
            f"on {self.device.type}: "
            f"{train:,} training images, {held:,} {self.data.held_name} images"
        )
        augmentation = self.recipe.augmentation
        if str(augmentation):
            # A mirror image of a garment is still a garment of the same class.
            unknown = self.settings.labels is not None and augmentation.flip
            yield f"each epoch changes images at random: {augmentation}" + (
                "; where a mirror image can be of another class, as with digits and letters, "
                "train with --no-flip"
                if unknown
                else ""
            )
        if self.teachers:
            yield (
                f"its teachers first answer for {augmentation.num_views} views of each image: "
                + ", ".join(map(str, self.teachers))
            )
