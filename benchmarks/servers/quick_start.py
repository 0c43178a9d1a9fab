"""BentoML and ONNX Runtime, as BentoML's quick start has it: nothing but a class and an API."""

from typing import Any

import bentoml
from PIL.Image import Image

from benchmarks.servers.onnx_model import classify_image, open_session


@bentoml.service
class QuickStart:
    """Takes the form that `/classify` takes."""

    def __init__(self) -> None:
        self.session = open_session()

    @bentoml.api
    def classify(self, image: Image) -> dict[str, Any]:
        """Return the class of the picture."""
        return classify_image(self.session, image)
