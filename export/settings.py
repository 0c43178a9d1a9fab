"""The settings of `python -m export`, which define its command lines and their help."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from export.metadata.semantic_version import semantic_version
from export.network.options import NetworkOptions
from training.console.command_line import CommandLineSettings

PROOF = "equivalence.json"


class WrittenModelSettings(NetworkOptions):
    """The options of both programs that write the model of a network."""

    out: Path = Field(Path("model.onnx"), description=f"the file to write; {PROOF} goes beside it")
    model_version: str = Field("1.0.0", description="semantic version, named in every answer")
    name: str | None = Field(
        None, description="what the service calls the model; else the folder's name"
    )
    preprocessing: Literal["resize", "center-crop", "fashion-mnist"] | None = Field(
        None, description="how the service makes an image of a picture; else resize"
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


class ExportSettings(WrittenModelSettings):
    """Fold a network's batch norms, and write the ONNX model if it is proved equal.

    The network is a checkpoint's of `python -m training`, or with --network anyone's.

    Three other programs: `python -m export verify MODEL CHECKPOINT` proves an existing model,
    `python -m export seal MODEL WEIGHTS` makes a servable model of any ONNX file,
    `python -m export inspect MODEL` shows what is in a model.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m export")

    checkpoint: CliPositionalArg[Path] = Field(
        description="a checkpoint.safetensors; with --network, a state dict as safetensors or .pt"
    )
    no_input_statistics: bool = Field(
        False,
        description="leave out the input statistics, which the service's drift check needs",
    )

    @model_validator(mode="after")
    def _name_and_pipeline_are_of_a_network(self) -> Self:
        for option in ("name", "preprocessing"):
            if getattr(self, option) is not None and self.network is None:
                raise ValueError(f"--{option} is of a network: name it with --network")
        return self

    @model_validator(mode="after")
    def _leave_the_checkpoint(self) -> Self:
        leave({"--out": self.out}, self.checkpoint)
        return self


class SealSettings(WrittenModelSettings):
    """Make a servable model of any exporter's ONNX file, if `verify` passes it.

    The model takes any number of images as bytes, and has metadata and golden samples.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m export seal")

    model: CliPositionalArg[Path] = Field(
        description="an ONNX file of float32 values or of bytes, with any names, by any exporter"
    )
    checkpoint: CliPositionalArg[Path] = Field(
        description="its network's state dict, as safetensors or .pt"
    )
    network: str = Field(
        description="MODULE:FACTORY, a function or class that returns the torch.nn.Module"
    )
    output: str | None = Field(None, description="the file's output that is the logits")

    @model_validator(mode="after")
    def _leave_what_is_read(self) -> Self:
        leave({"--out": self.out}, self.model, self.checkpoint)
        return self


class VerifySettings(NetworkOptions):
    """Prove that a model is a network's; the exit status is 0 if it is.

    The model is `python -m export`'s of a checkpoint of `python -m training`. With --network it is
    anyone's ONNX file: of float32 values or of bytes, with any names, by any exporter.
    """

    model_config = SettingsConfigDict(cli_prog_name="python -m export verify")

    model: CliPositionalArg[Path] = Field(description="a model.onnx")
    checkpoint: CliPositionalArg[Path] = Field(
        description="the checkpoint.safetensors it comes from; with --network, a state dict as "
        "safetensors or .pt"
    )
    output: str | None = Field(None, description="the model's output that is the logits")
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where ONNX Runtime computes the model"
    )
    no_input_statistics: bool = Field(
        False, description="do not check the input statistics, and do not read the training set"
    )
    json_report: Path | None = Field(None, alias="json", description="file for all the figures")
    plot: Path | None = Field(None, description="PNG file for the errors' distribution")

    @model_validator(mode="after")
    def _output_is_of_a_network(self) -> Self:
        if self.output is not None and self.network is None:
            raise ValueError("--output is of a network: name it with --network")
        return self

    @model_validator(mode="after")
    def _leave_what_is_read(self) -> Self:
        leave({"--json": self.json_report, "--plot": self.plot}, self.model, self.checkpoint)
        return self


class InspectSettings(CommandLineSettings):
    """Show what is in a model."""

    model_config = SettingsConfigDict(cli_prog_name="python -m export inspect")

    model: CliPositionalArg[Path] = Field(description="a model.onnx")


def leave(written: Mapping[str, Path | None], *read: Path) -> None:
    """Check that no option names an output file that is also an input file.

    Raises:
        ValueError: an option does.
    """
    for option, path in written.items():
        for source in read:
            if path is not None and os.path.realpath(path) == os.path.realpath(source):
                raise ValueError(f"{option} {path} is also an input: choose another file to write")
