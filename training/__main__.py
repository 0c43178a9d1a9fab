"""`python -m training` trains, `... report RUN` draws, `... data` finds the data set."""

import sys
from collections.abc import Sequence

from training.command_line import parse, run
from training.errors import TrainingError
from training.settings import DataSettings, ReportSettings, TrainingSettings

KNOWN = (TrainingError,)


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    match arguments:
        case ["report", *rest]:
            return run(_report, parse(ReportSettings, rest), KNOWN)
        case ["data", *rest]:
            return run(_data, parse(DataSettings, rest), KNOWN)
        case _:
            return run(_train, parse(TrainingSettings, arguments), KNOWN)


# Each program imports what it needs: --help and usage errors need not wait for torch.


def _train(settings: TrainingSettings) -> int:
    from training.interruption import Interrupted
    from training.run import train

    try:
        train(settings)
    except Interrupted as reason:
        return reason.exit_status
    return 0


def _report(settings: ReportSettings) -> int:
    from training.report import write_report

    print(write_report(settings))
    return 0


def _data(settings: DataSettings) -> int:
    from training.fashion_mnist import find_directory, load_split

    for name in ("train", "test"):
        folder = find_directory(name, offline=settings.offline)
        print(f"{len(load_split(name, folder)):,} {name} images in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
