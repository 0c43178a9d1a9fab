"""The options of the command line that name a network and its images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from export.errors import NetworkError
from training.console.command_line import CommandLineSettings

IMAGES = 256

OF_NETWORKS = ("arguments", "image", "mean", "std", "labels", "images")


class NetworkOptions(CommandLineSettings):
    """A network of the user's, and the images that it is proved on."""

    network: str | None = Field(
        None,
        description="MODULE:FACTORY, a function or class that returns the torch.nn.Module; "
        "a checkpoint of `python -m training` needs none",
    )
    arguments: str = Field("{}", description="the factory's keyword arguments, a JSON object")
    image: str | None = Field(None, description="CxHxW of one image, such as 3x224x224")
    data: Path | None = Field(
        None,
        description="folder with a sub-folder of pictures per class, folder of IDX files, or "
        ".npz; without --network: folder of IDX files, else Fashion-MNIST, found",
    )
    mean: str = Field("0", description="of images in [0, 1]: a number, or one a channel: 0.5,0.4,0")
    std: str = Field("1", description="standard deviation, the same way")
    labels: Path | None = Field(None, description="text file with one class name per line")
    images: int = Field(IMAGES, ge=1, description="images of --data that the proof runs on")

    @field_validator("arguments")
    @classmethod
    def _json_object(cls, text: str) -> str:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"expected a JSON object: {error}") from error
        if not isinstance(value, dict):
            raise ValueError('expected a JSON object, such as {"num_classes": 10}')
        return text

    @field_validator("image")
    @classmethod
    def _sizes(cls, text: str | None) -> str | None:
        if text is not None and (
            text.count("x") != 2 or not all(size.isdecimal() for size in text.split("x"))
        ):
            raise ValueError("expected CxHxW, such as 3x224x224")
        return text

    @field_validator("mean", "std")
    @classmethod
    def _numbers(cls, text: str) -> str:
        try:
            list(map(float, text.split(",")))
        except ValueError:
            raise ValueError("expected a number, or one a channel, such as 0.5,0.4,0.3") from None
        return text

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.network is None:
            for name in OF_NETWORKS:
                if name in self.model_fields_set:
                    raise ValueError(f"--{name} is of a network: name it with --network")
        elif self.image is None or self.data is None:
            missing = "--image" if self.image is None else "--data"
            raise ValueError(f"--network {self.network} needs {missing} as well")
        return self

    @property
    def keyword_arguments(self) -> dict[str, Any]:
        """Return the factory's keyword arguments."""
        arguments: dict[str, Any] = json.loads(self.arguments)
        return arguments

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (C, H, W)."""
        if self.image is None:
            raise NetworkError("there is no --image: expected CxHxW, such as 3x224x224")
        return tuple(map(int, self.image.split("x")))

    @property
    def means(self) -> Sequence[float]:
        """Return the mean, one number or one a channel."""
        return tuple(map(float, self.mean.split(",")))

    @property
    def stds(self) -> Sequence[float]:
        """Return the standard deviation, one number or one a channel."""
        return tuple(map(float, self.std.split(",")))
