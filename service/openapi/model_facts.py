"""What the description says of the served model: its shape, its classes, and examples of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.inference.results import classification, predictions
from service.preprocessing.pipeline import MODES, PLAIN, Mode
from service.runtime.onnx_model import OnnxModel
from service.signature import ModelSignature

LARGEST_EXAMPLE = 4096  # numbers: a description with more is slow to load and to read
EXAMPLE_TOP_K = 3


@dataclass(frozen=True)
class ModelFacts:
    """A model for the description; its examples are a golden sample, and its answer to it.

    Attributes:
        name: of the model.
        version: of the model.
        signature: None where no model is ready: the description then says nothing of shapes.
        image: the example, as lists C x H x W; None where it is too large, or there is no model.
        classification: an answer of `/classify?top_k=3`.
        predictions: an answer of `/predict`; None where it is too large, or there is no model.
        names: of all models that a request can choose.
    """

    name: str
    version: str
    signature: ModelSignature | None
    image: list[Any] | None = None
    classification: dict[str, Any] | None = None
    predictions: dict[str, Any] | None = None
    names: Sequence[str] = ()

    @classmethod
    def of(cls, model: OnnxModel, names: Sequence[str] = ()) -> "ModelFacts":
        """Return the facts about a model; of its golden samples it is shown the surest."""
        shifted = np.exp(model.golden.logits - model.golden.logits.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)  # (G, K)
        sample = int(probabilities.max(axis=1).argmax())
        row = probabilities[sample].round(4).astype(np.float32)  # (K,)
        spec, labels = model.signature.image, model.labels
        small = spec.bytes <= LARGEST_EXAMPLE
        classified: dict[str, Any] = dict(
            classification(model, row, PLAIN[spec.pipeline], min(EXAMPLE_TOP_K, len(labels)))
        )
        if model.input_statistics:
            classified["input"] = {"shift": 0.412, "unusual": False, "hint": ""}
        return cls(
            name=model.name,
            version=model.version,
            signature=model.signature,
            image=model.golden.images[sample].tolist() if small else None,
            classification=classified,
            predictions=dict(predictions(model, row[None])) if small else None,
            names=names or [model.name],
        )

    @property
    def axes(self) -> list[int]:
        """C, H, W; empty without a model."""
        return list(self.signature.image.shape) if self.signature else []

    @property
    def shape(self) -> str:
        """The images' shape in words."""
        return f"N x {self.signature.image}" if self.signature else "N x C x H x W"

    @property
    def classes(self) -> int | None:
        """The number of classes, K."""
        return len(self.signature.labels) if self.signature else None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes of the model's pipeline."""
        return MODES[self.signature.image.pipeline if self.signature else "fashion-mnist"]

    @property
    def purpose(self) -> str:
        """What the service is for, in a sentence or two."""
        if not self.signature:
            return "Says which class a picture belongs to."
        count = len(self.signature.labels)
        labels = self.signature.label_list
        several = f"{len(self.names)} models, by default" if len(self.names) > 1 else "the model"
        return (
            f"Serves {several} `{self.name}` {self.version}. "
            f"It says which of {count:,} classes a picture belongs to: {labels}."
        )


NO_MODEL = ModelFacts("model", "1.0.0", None)
