"""`python -m training` trains, `... report RUN` draws figures, `... data` finds the data set."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.console.interruption import Interrupted, loading, run_until_interrupted

if TYPE_CHECKING:
    from training.settings import DataSettings, ReportSettings, TrainingSettings

# Other modules are imported later, so that --help does not wait for torch.


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    return run_until_interrupted(_run, arguments)


def _run(arguments: Sequence[str]) -> int:
    with loading():
        from training.console.command_line import parse, run
        from training.errors import TrainingError
        from training.settings import DataSettings, ReportSettings, TrainingSettings

    known = (TrainingError,)
    match arguments:
        case ["report", *rest]:
            return run(_report, parse(ReportSettings, rest), known)
        case ["data", *rest]:
            return run(_data, parse(DataSettings, rest), known)
        case _:
            return run(_train, parse(TrainingSettings, arguments), known)


def _train(settings: "TrainingSettings") -> int:
    with loading():
        from training.run import train

    try:
        train(settings)
    except Interrupted as reason:
        return reason.exit_status
    return 0


def _report(settings: "ReportSettings") -> int:
    with loading():
        from training.report import write_report

    print(write_report(settings))
    return 0


def _data(settings: "DataSettings") -> int:
    with loading():
        from training.data.fashion_mnist import find_directory, load_split

    for name in ("train", "test"):
        folder = find_directory(name, offline=settings.offline)
        print(f"{len(load_split(name, folder)):,} {name} images in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
