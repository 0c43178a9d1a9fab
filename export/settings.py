"""What `python -m export` can be told; its command line and its help come from here."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from training.command_line import CommandLineSettings

PROOF = "equivalence.json"


class ExportSettings(CommandLineSettings):
    """Fold a checkpoint's batch norms, emit ONNX, and write it if it is proved equal."""

    model_config = SettingsConfigDict(cli_prog_name="python -m export")

    checkpoint: CliPositionalArg[Path] = Field(description="a checkpoint.safetensors")
    out: Path = Field(Path("model.onnx"), description=f"the file to write; {PROOF} goes beside it")
    model_version: str = Field("1.0.0", description="the version that every answer will name")
    data: Path | None = Field(
        None, description="folder with the test set's IDX files; else Fashion-MNIST, found"
    )

    @field_validator("out")
    @classmethod
    def _leave_the_proof_its_name(cls, out: Path) -> Path:
        if out.name == PROOF:
            raise ValueError(
                f"{PROOF} is the proof's name beside the model: choose another for the model"
            )
        return out
