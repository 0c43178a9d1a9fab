"""`python -m training` trains; `python -m training report RUN` draws."""

import sys
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import CliApp

from training.errors import TrainingError
from training.settings import ReportSettings, TrainingSettings

FAILURE, USAGE = 1, 2
Settings = TypeVar("Settings", bound=BaseModel)


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    if arguments[:1] == ["report"]:
        return _report(_parse(ReportSettings, arguments[1:]))
    return _train(_parse(TrainingSettings, arguments))


def _parse(kind: type[Settings], arguments: Sequence[str]) -> Settings:
    try:
        return CliApp.run(kind, cli_args=list(arguments))
    except ValidationError as error:
        for fault in error.errors():
            _complain(_describe(fault["loc"], fault["msg"], fault["input"]))
        sys.exit(USAGE)


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    option = str(location[0]).replace("_", "-")
    return f"--{option} {value}: {text[0].lower()}{text[1:]}"


def _train(settings: TrainingSettings) -> int:
    # Imported here so that --help and usage errors need not wait for torch.
    from training.interruption import Interrupted
    from training.run import train

    try:
        train(settings)
    except TrainingError as error:
        _complain(str(error))
        return FAILURE
    except Interrupted as reason:
        return reason.exit_status
    return 0


def _report(settings: ReportSettings) -> int:
    from training.report import write_report

    try:
        write_report(settings)
    except TrainingError as error:
        _complain(str(error))
        return FAILURE
    return 0


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
