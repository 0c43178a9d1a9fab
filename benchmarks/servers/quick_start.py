"""BentoML and ONNX Runtime, as BentoML's quick start has it: nothing but a class and an API."""

from typing import Any

import bentoml
from PIL.Image import Image

from benchmarks.servers.onnx_model import LABELS, infer, open_session


@bentoml.service
class QuickStart:
    """Takes the form that `/classify` takes."""

    def __init__(self) -> None:
        self.session = open_session()

    @bentoml.api
    def classify(self, image: Image) -> dict[str, Any]:
        """Say what garment the picture shows."""
        import numpy as np

        pixels = np.asarray(image.convert("L"))  # (28, 28)
        values = infer(self.session, pixels[None, None])[0].tolist()  # (10,)
        best = max(range(len(values)), key=values.__getitem__)
        return {
            "label": LABELS[best],
            "class_id": best,
            "confidence": values[best],
            "probabilities": dict(zip(LABELS, values, strict=True)),
        }
