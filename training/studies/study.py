"""The command line of a study, and its files."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.console.command_line import run
from training.data.choice import load_half
from training.data.dataset import Split
from training.errors import TrainingError
from training.execution.devices import set_up
from training.figures.png import png_bytes
from training.files.atomic_write import write_together
from training.files.folders import check_folder, make_folder

Result = Mapping[str, Any]


def run_study(
    description: str,
    study: Callable[[Split, int], Result],
    draw: Callable[[Sequence[Result]], Figure],
) -> None:
    """Run a study for each seed, write OUT.json and OUT.png, and exit.

    Args:
        description: of the program, for `--help`.
        study: takes the test images and a seed; returns what JSON can hold.
        draw: returns the picture of the results of all seeds.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])

    def write_study(arguments: argparse.Namespace) -> int:
        check_folder(arguments.out.parent)
        set_up(threads=1)  # so that machines with any number of cores add in the same order
        split = load_half("test", None, None)
        results = {seed: study(split, seed) for seed in arguments.seeds}
        write_results(arguments.out, results, draw(list(results.values())))
        return 0

    sys.exit(run(write_study, parser.parse_args(), (TrainingError,)))


def write_results(out: Path, results: Mapping[int, Result], figure: Figure) -> None:
    """Write OUT.json, by seed, and OUT.png."""
    figures = json.dumps(results, indent=2, allow_nan=False) + "\n"
    make_folder(out.parent)
    write_together({out.with_suffix(".json"): figures, out.with_suffix(".png"): png_bytes(figure)})
