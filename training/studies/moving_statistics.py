"""Study the effect of moving averages on the notebook's accuracy at a learning rate of 1.0.

    python -m training.studies.moving_statistics --out docs/images/batch_norm_statistics

It trains recipe `seed`, and evaluates the same weights after every epoch three
times: with the moving statistics (the notebook), with statistics re-estimated
over the training set, and with each test batch's own statistics. It writes
OUT.json and OUT.png. It is a demonstration: no choice depends on its test accuracies.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import cycle
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from training.console.command_line import run
from training.data.choice import Data, load_data
from training.data.dataset import Split
from training.data.pixels import to_float
from training.errors import TrainingError
from training.evaluation import evaluate
from training.execution.compilation import should_compile
from training.execution.devices import choose_device, set_up
from training.files.folders import check_folder
from training.learner import STATISTICS_BATCH, Learner
from training.population_statistics import with_population_statistics
from training.recipes import SEED
from training.studies.study import write_results

COLOURS = {"moving": "tab:orange", "re-estimated": "tab:blue", "batch": "tab:gray"}
LINES = ("-", "--", ":")  # one for each seed
Accuracies = Mapping[str, Sequence[float]]  # statistics -> accuracy after each epoch


def main() -> int:
    """Run the study for each seed, print its progress, and write the accuracies and the figure."""
    parser = argparse.ArgumentParser(description="Accuracy by three kinds of statistics.")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=SEED.epochs)
    parser.add_argument("--threads", type=int, default=None)
    return run(_write_study, parser.parse_args(), (TrainingError,))


def _write_study(arguments: argparse.Namespace) -> int:
    check_folder(arguments.out.parent)
    set_up(arguments.threads)
    device = choose_device("auto")
    data = load_data(None, None, validation=False).to(device)
    compile_step = should_compile("auto", arguments.epochs * len(data.train), device.type)
    results = {seed: study(data, seed, arguments.epochs, compile_step) for seed in arguments.seeds}
    write_results(arguments.out, results, study_figure(list(results.values())))
    return 0


def study(data: Data, seed: int, epochs: int, compile_step: bool) -> Accuracies:
    """Train one seed; return the three accuracies after each epoch."""
    found: dict[str, list[float]] = {name: [] for name in COLOURS}
    learner = Learner(
        SEED, data.train, len(data.labels), seed, epochs=epochs, compile_step=compile_step
    )
    for epoch in range(1, epochs + 1):
        learner.train_epoch()
        model = learner.model
        population = with_population_statistics(model, data.train.images, STATISTICS_BATCH)
        found["moving"].append(evaluate(model, data.held).accuracy)
        found["re-estimated"].append(evaluate(population, data.held).accuracy)
        found["batch"].append(accuracy_by_batch(model, data.held, SEED.batch_size))
        now = {name: round(values[-1], 4) for name, values in found.items()}
        print(f"seed {seed}, epoch {epoch}: {now}", flush=True)
    return found


def accuracy_by_batch(model: nn.Sequential, split: Split, batch_size: int) -> float:
    """Return the accuracy with each batch's own statistics; the model is not modified."""
    copy = deepcopy(model).train()
    with torch.no_grad():
        batches = torch.split(split.images, batch_size)
        predicted = torch.cat([copy(to_float(batch)).argmax(1) for batch in batches])  # (N,)
    return float((predicted == split.labels).double().mean())


def study_figure(results: Sequence[Accuracies]) -> Figure:
    """Return a figure of every seed's accuracies by epoch, one colour per kind of statistics."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.add_subplot()
    for result, line in zip(results, cycle(LINES)):
        for name, values in result.items():
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, line, marker="o", markersize=3, color=COLOURS[name])
    for name, colour in COLOURS.items():
        axis.plot([], [], "-o", color=colour, label=f"{name} statistics")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel("test accuracy")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    sys.exit(main())
