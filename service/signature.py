"""What a model takes and what it returns: the shape of its images, its pipeline, its labels.

All of it is read from `model.onnx` (`service.runtime.signature`), and everything that depends on a
shape or on the classes gets it from here.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

Pipeline = Literal["fashion-mnist", "resize", "center-crop"]

CHANNELS = (1, 3)  # grey, RGB
SHOWN_TEXTS = 20  # of a list
LONGEST_SIDE = 4096  # pixels; a decoder process has memory for one such image in RGB


@dataclass(frozen=True)
class ImageSpec:
    """The images that a model takes, uint8 (N, C, H, W), and how a picture becomes one.

    Attributes:
        channels: C, 1 (grey) or 3 (RGB).
        height: H, in pixels.
        width: W, in pixels.
        pipeline: `fashion-mnist`: the data set's own, for one channel
            (`service.preprocessing.fashion_mnist`). `resize`: the picture is squeezed to H x W.
            `center-crop`: its shorter side is brought to `resize`, and H x W is cut from its
            centre. The last two: `service.preprocessing.torchvision_transforms`.
        resize: of `center-crop`, in pixels; else None.
    """

    channels: int
    height: int
    width: int
    pipeline: Pipeline
    resize: int | None = None

    @classmethod
    def parse(cls, shape: tuple[int, int, int], preprocessing: str | None) -> Self:
        """Return the images of a model.

        Args:
            shape: (C, H, W), of the model's input.
            preprocessing: the `preprocessing` of a model's metadata, a JSON object; None if it has
                none: `fashion-mnist` for one channel, `resize` for three.

        Raises:
            ValueError, TypeError: the text is not such JSON, or does not fit the shape.
        """
        if preprocessing is None:
            return cls(*shape, "fashion-mnist" if shape[0] == 1 else "resize")
        content = json.loads(preprocessing)
        if not isinstance(content, dict):
            raise TypeError(f"expected an object with a pipeline, got {preprocessing[:60]!r}")
        match content:
            case {"pipeline": "fashion-mnist" | "resize" as pipeline, **rest} if not rest:
                if pipeline == "fashion-mnist" and shape[0] != 1:
                    raise ValueError(
                        f"the pipeline fashion-mnist is for one channel, the model has {shape[0]}"
                    )
                return cls(*shape, pipeline)
            case {"pipeline": "center-crop", "resize": int(side), **rest} if not rest:
                if not max(shape[1:]) <= side <= LONGEST_SIDE or isinstance(side, bool):
                    raise ValueError(
                        f"resize: expected {max(shape[1:])} to {LONGEST_SIDE:,}, got {side}"
                    )
                return cls(*shape, "center-crop", side)
        raise ValueError(
            'expected {"pipeline": "fashion-mnist"}, {"pipeline": "resize"} or {"pipeline": '
            f'"center-crop", "resize": PIXELS}}, got {preprocessing[:100]!r}'
        )

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)

    @cached_property
    def bytes(self) -> int:
        """The bytes of one image."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        """Return the shape as in `1 x 28 x 28`."""
        return " x ".join(map(str, self.shape))


@dataclass(frozen=True)
class ModelSignature:
    """A model's images (N, C, H, W), and the names of its K classes.

    Its outputs are `logits` and `probabilities`, float32 (N, K).
    """

    image: ImageSpec
    labels: tuple[str, ...]  # K

    @property
    def label_list(self) -> str:
        """The labels as text, as `shortened_list` returns them."""
        return shortened_list(self.labels)


def shortened_list(texts: Sequence[str]) -> str:
    """Return texts for people to read: of many, the first ones and how many more there are."""
    shown = ", ".join(texts[:SHOWN_TEXTS])
    more = len(texts) - SHOWN_TEXTS
    return f"{shown} and {more:,} more" if more > 0 else shown
