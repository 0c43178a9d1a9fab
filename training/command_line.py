"""A command line made from a settings class, and its faults told in one line each."""

import sys
from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

FAILURE, USAGE = 1, 2
Settings = TypeVar("Settings", bound="CommandLineSettings")


class CommandLineSettings(BaseSettings):
    """Settings that no stray environment variable named SEED or OUT can change."""

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
        """Keep the command line alone."""
        return (init_settings,)


def parse(kind: type[Settings], arguments: Sequence[str]) -> Settings:
    """Turn arguments into settings; on a fault say what is wrong and exit with status 2."""
    try:
        return CliApp.run(kind, cli_args=list(arguments))
    except ValidationError as error:
        for fault in error.errors():
            complain(_describe(fault["loc"], fault["msg"], fault["input"]))
        sys.exit(USAGE)


def complain(text: str) -> None:
    """Tell a person what went wrong, on standard error."""
    print(f"error: {text}", file=sys.stderr)


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    option = str(location[0]).replace("_", "-")
    return f"--{option} {value}: {text[0].lower()}{text[1:]}"
