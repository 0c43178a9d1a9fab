"""The BentoML service class, which `bentoml serve` loads.

Requests are served by the application of `service.server.worker`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType

from service.inference.results import Classification, Predictions
from service.preprocessing.decoding import Job, decode
from service.preprocessing.pipeline import Mode
from service.server.bentoml_service import WebService
from service.server.draining import Draining
from service.server.startup import read_settings, take_over
from service.telemetry.request_timing import RequestTiming

Picture = Annotated[Path, ContentType("image/*")]
# Not NDArray[np.uint8]: in newer NumPy it is an alias, which BentoML does not accept as an array.
# No shape: the model decides it, and BentoML's client takes no more than one unknown length.
Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

take_over()  # `bentoml serve` imports this module, and then what starts a server


@bentoml.service(
    service_class=WebService,
    workers=read_settings().workers,  # BentoML needs it when the class is created
    # service.middleware measures and limits requests; BentoML's own would repeat it, and is slow.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class FashionClassifier:
    """Classify images with a model that `python -m export` wrote, on ONNX Runtime."""

    def __init__(self) -> None:
        from service.inference.data_plane import DataPlane  # as in `WebService.to_asgi`

        self.settings = read_settings()
        self.draining = Draining(self.settings.drain_seconds)
        self.data_plane = DataPlane(
            self.settings, lambda: self.draining.not_ready_reason, self.draining.end
        )

    # BentoML's clients read their methods from these. Their requests, like all others, are served
    # by the routes of `service.rest.classify` and `service.rest.predict`.

    @bentoml.api
    async def classify(
        self, image: Picture, mode: Mode = "auto", top_k: int | None = None
    ) -> Classification:
        """Return the class of what an image shows."""
        return (await self._classify([image], [], mode, top_k))[0]

    @bentoml.api
    async def classify_batch(
        self, images: list[Picture], mode: Mode = "auto", top_k: int | None = None
    ) -> list[Classification]:
        """Return the class of what each image shows."""
        return await self._classify(images, [image.name for image in images], mode, top_k)

    @bentoml.api
    async def predict(self, images: Images) -> Predictions:
        """Return the class of each image, N x C x H x W as the model takes them."""
        with self.data_plane.served as served:
            return await served.predict(images, RequestTiming())

    async def _classify(
        self, images: Sequence[Path], names: Sequence[str], mode: Mode, top_k: int | None
    ) -> list[Classification]:
        contents = [image.read_bytes() for image in images]
        with self.data_plane.served as served:
            spec = served.model.signature.image
            job = Job(contents, names, self.settings.max_image_pixels, spec, mode)
            return await served.classify(decode(job), RequestTiming(), top_k)
