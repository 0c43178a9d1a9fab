"""The settings of `python -m training`, which define its command lines and their help."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliPositionalArg, CliVariadicArg, SettingsConfigDict

from training.console.command_line import CommandLineSettings
from training.recipes import RECIPES, NetworkName


class TrainingSettings(CommandLineSettings):
    """Train a network: LeNet-BN or a residual one.

    Two other programs: `python -m training report RUN` draws the figures of a
    finished run, `python -m training data` finds or downloads Fashion-MNIST.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m training")

    recipe: str = Field("seed", description=f"how to train: {', '.join(RECIPES)}")
    network: NetworkName | None = Field(None, description="what to train; else the recipe's own")
    epochs: int | None = Field(None, ge=1, description="epochs; else the recipe's own number")
    seed: int = Field(0, ge=0, lt=2**31, description="decides weights, order and augmentation")
    out: Path = Field(Path("runs/latest"), description="folder for all that the run writes")
    resume: bool = Field(False, description="continue from the last complete epoch in --out")
    overwrite: bool = Field(False, description="remove the run that --out holds")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if there is one")
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads; else torch's choice")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the layers; batch statistics and weights stay float32"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto: if the run is long enough to save time"
    )
    data: Path | None = Field(None, description="folder of IDX files; else Fashion-MNIST, found")
    labels: Path | None = Field(
        None, description="text file with one class name per line, for a data set of your own"
    )
    teacher: CliVariadicArg[list[Path]] = Field(
        [], description="checkpoints of networks to learn from, with a recipe that does"
    )
    validation: bool = Field(
        False, description="hold a twelfth of the training set out and leave the test set alone"
    )

    no_flip: bool = Field(
        False, description="leave out the recipe's mirror images, which digits and letters are not"
    )

    @field_validator("recipe")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in RECIPES:
            raise ValueError(f"there is no such recipe: choose one of {', '.join(RECIPES)}")
        return name

    @model_validator(mode="after")
    def _labels_name_data(self) -> Self:
        if self.labels is not None and self.data is None:
            raise ValueError("--labels names the classes of a data set: give its --data as well")
        return self

    @model_validator(mode="after")
    def _keep_or_lose(self) -> Self:
        if self.resume and self.overwrite:
            raise ValueError("--resume continues a run and --overwrite removes it: choose one")
        return self

    def over(self, stored: dict[str, Any]) -> Self:
        """Return the stored settings, overridden by the ones given explicitly this time."""
        said = self.model_dump(include=self.model_fields_set)
        return type(self)(**{**stored, **said})


class DataSettings(CommandLineSettings):
    """Find Fashion-MNIST and check its files; download it if it is not found."""

    model_config = SettingsConfigDict(cli_prog_name="python -m training data")

    offline: bool = Field(False, description="fail rather than download")


class ReportSettings(CommandLineSettings):
    """Draw the figures of a finished run into its folder."""

    model_config = SettingsConfigDict(cli_prog_name="python -m training report")

    run: CliPositionalArg[Path] = Field(description="folder with checkpoint.safetensors")
    out: Path | None = Field(None, description="folder for the figures; else the run's own")
    overwrite: bool = Field(False, description="replace the figures that --out holds")
    data: Path | None = Field(None, description="folder of IDX files; else the run's own data set")
