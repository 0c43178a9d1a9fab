"""One run from its settings to its checkpoint."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from training.checkpoint import save_checkpoint
from training.compilation import should_compile
from training.curves import curves_figure
from training.data_choice import Data, load_data
from training.devices import choose_device, set_up
from training.errors import RunError
from training.evaluation import evaluate
from training.history import Epoch
from training.interruption import Interrupted, Interruption
from training.learner import Glimpse, Learner
from training.png import write_png
from training.progress import ProgressDisplay
from training.recipes import find_recipe
from training.run_directory import RunDirectory
from training.settings import TrainingSettings
from training.versions import software_versions


def train(settings: TrainingSettings) -> None:
    """Train as the settings say, and write everything into their folder.

    Raises:
        TrainingError: something the user can act on.
        Interrupted: a signal came; the checkpoint so far is written.
    """
    directory = RunDirectory(settings.out)
    directory.prepare(resume=settings.resume)
    stored = directory.load_state() if settings.resume else None
    if stored is not None:
        settings = settings.over(json.loads(stored["settings"]))
    run = _Run(settings, directory)
    if stored is not None:
        run.go_back_to(stored)
    run.go_on()


class _Run:
    """A run under way."""

    def __init__(self, settings: TrainingSettings, directory: RunDirectory) -> None:
        self.directory = directory
        self.device = choose_device(settings.device)
        set_up(settings.threads)
        data = load_data(settings.data, settings.labels, validation=settings.validation)
        self.data: Data = data.to(self.device)
        self.recipe = find_recipe(settings.recipe)
        self.epochs = settings.epochs or self.recipe.epochs
        compiles = should_compile(settings.compile, self.epochs * len(self.data.train))
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
        )
        self.history: list[Epoch] = []

    def go_back_to(self, stored: Mapping[str, Any]) -> None:
        """Take up a stored run, provided that this one would have come to the same point."""
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
        """Train the epochs that are left, then write the results."""
        done = len(self.history)
        held_name = self.data.held_name
        self.directory.write_log("start", epochs_done=done, **self._identity())
        with Interruption() as interruption, ProgressDisplay(self.epochs, done, held_name) as shown:
            shown.say(self._introduction())

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
                    f"{self.directory.checkpoint} holds what was learned, --resume goes on"
                )
                raise
            metrics = self._write_finished()
            accuracy = metrics[f"{held_name}_accuracy"]
            shown.say(f"{held_name} accuracy {accuracy:.4f}; wrote {self.directory.checkpoint}")

    def _one_epoch(self, on_glimpse: Callable[[Glimpse], None]) -> Epoch:
        start = time.perf_counter()
        trained = self.learner.train_epoch(on_glimpse)
        seconds = time.perf_counter() - start
        held = evaluate(self.learner.trained_network(), self.data.held)
        epoch = Epoch(self.learner.epoch, trained, held, seconds)
        self.history.append(epoch)
        self.directory.write_log("epoch", **epoch.as_metrics(self.data.held_name))
        self._save_state()
        return epoch

    def _save_state(self) -> None:
        self.directory.save_state(
            {
                "settings": self.settings.model_dump_json(exclude={"out", "resume"}),
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
        save_checkpoint(self.directory.checkpoint, network, self._metadata() | dict(extra))
        self.directory.write_metrics(metrics)
        write_png(self.directory.curves, curves_figure(metrics))

    def _metadata(self) -> dict[str, str]:
        return {
            "recipe": self.recipe.name,
            "seed": str(self.settings.seed),
            "epochs": str(len(self.history)),
            "labels": json.dumps(self.data.labels),
            "dataset": json.dumps(self.data.digests()),
            "versions": json.dumps(software_versions()),
        }

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
        """Return all that decides the weights: two runs that agree in it end alike."""
        settings = self.settings
        return {
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
        }

    def _introduction(self) -> str:
        held, train = len(self.data.held), len(self.data.train)
        return (
            f"recipe {self.recipe.name}, seed {self.settings.seed}, on {self.device.type}: "
            f"{train:,} training images, {held:,} {self.data.held_name} images"
        )
