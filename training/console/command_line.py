"""Build a command line from a settings class, and report each error on one line."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from training.console.terminal import printable

FAILURE, USAGE = 1, 2
NOBODY_READS = 128 + 13  # SIGPIPE, which not every system has
Settings = TypeVar("Settings", bound="CommandLineSettings")
Options = TypeVar("Options")


class CommandLineSettings(BaseSettings):
    """Settings from the command line only: variables such as SEED or OUT do not change them."""

    model_config = SettingsConfigDict(
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the command line as the only source."""
        return (init_settings,)


def parse(kind: type[Settings], arguments: Sequence[str]) -> Settings:
    """Return the settings from arguments; on an error, print it and exit with status 2."""
    try:
        return CliApp.run(kind, cli_args=list(arguments))
    except ValidationError as error:
        for fault in error.errors():
            complain(_describe(fault["loc"], fault["msg"], fault["input"]))
        sys.exit(USAGE)
    except SettingsError as error:
        complain(
            f"{error}: put a name with a comma, bracket or quote into double quotes of its own"
        )
        sys.exit(USAGE)


def run(
    program: Callable[[Options], int], settings: Options, known: tuple[type[Exception], ...]
) -> int:
    """Run a program and return its exit status; an error is printed on one line.

    Args:
        program: takes the settings, returns 0 or the status of a failure that it has printed.
        settings: the settings of the program.
        known: the exceptions whose message is the complete explanation.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Labels and file names may not be in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = program(settings)
        if sys.stdout is not None:  # it is None if it was closed before the start
            sys.stdout.flush()
        return status
    except known as error:
        complain(str(error))
        return FAILURE
    except BrokenPipeError:
        _forget_output()
        return NOBODY_READS
    except OSError as error:
        # Errors of files have their own messages. Left are paths that the system rejects before
        # it looks for a file, and a standard output on a full disk.
        if error.filename is None:
            _forget_output()
            complain(f"cannot write to standard output: {error.strerror}; send it elsewhere")
        else:
            complain(f"cannot use {error.filename}: {error.strerror}; choose another path")
        return FAILURE


def _forget_output() -> None:
    """Discard buffered output, which would otherwise be written at exit and fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print an error message on one line to standard error."""
    print(f"error: {printable(' '.join(text.splitlines()))}", file=sys.stderr)


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    option = str(location[0]).replace("_", "-")
    return f"--{option} {value}: {text[0].lower()}{text[1:]}"
