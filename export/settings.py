"""What `python -m export` can be told; its command lines and their help come from here."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from export.semantic_version import semantic_version
from training.command_line import CommandLineSettings

PROOF = "equivalence.json"
DATA = "folder with the data set's IDX files; else Fashion-MNIST, found"


class ExportSettings(CommandLineSettings):
    """Fold a checkpoint's batch norms, emit ONNX, and write it if it is proved equal.

    Two other programs: `python -m export verify MODEL CHECKPOINT` proves a
    model that is there, `python -m export inspect MODEL` shows what is in one.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m export")

    checkpoint: CliPositionalArg[Path] = Field(description="a checkpoint.safetensors")
    out: Path = Field(Path("model.onnx"), description=f"the file to write; {PROOF} goes beside it")
    model_version: str = Field("1.0.0", description="semantic version that every answer will name")
    data: Path | None = Field(None, description=DATA)
    input_statistics: bool = Field(
        True, description="write in what the training set looks like, for the service to watch by"
    )

    @field_validator("model_version")
    @classmethod
    def _semantic(cls, version: str) -> str:
        return semantic_version(version)

    @field_validator("out")
    @classmethod
    def _leave_the_proof_its_name(cls, out: Path) -> Path:
        if out.name == PROOF:
            raise ValueError(
                f"{PROOF} is the proof's name beside the model: choose another for the model"
            )
        return out


class VerifySettings(CommandLineSettings):
    """Prove that a model is a checkpoint's network, folded; the exit status is 0 if it is."""

    model_config = SettingsConfigDict(cli_prog_name="python -m export verify")

    model: CliPositionalArg[Path] = Field(description="a model.onnx")
    checkpoint: CliPositionalArg[Path] = Field(description="the checkpoint.safetensors it is of")
    data: Path | None = Field(None, description=DATA)
    input_statistics: bool = Field(
        True, description="hold what the service watches by against the training set"
    )
    json_report: Path | None = Field(None, alias="json", description="file for all the figures")
    plot: Path | None = Field(None, description="PNG file for the errors' distribution")


class InspectSettings(CommandLineSettings):
    """Show what is in a model."""

    model_config = SettingsConfigDict(cli_prog_name="python -m export inspect")

    model: CliPositionalArg[Path] = Field(description="a model.onnx")
