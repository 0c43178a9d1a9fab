"""`bentoml serve`: the service as BentoML knows it.

Requests come in through `service.server.bentoml_service`.
"""

import asyncio
import threading
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType, Shape

from service.inference.data_plane import DataPlane
from service.inference.results import Classification, Predictions
from service.preprocessing.decoding import Job, decode
from service.preprocessing.pipeline import SIDE, Mode
from service.server.bentoml_service import WebService
from service.server.draining import Draining
from service.server.startup import read_settings, take_over
from service.telemetry import in_flight
from service.telemetry.request_timing import RequestTiming

Picture = Annotated[Path, ContentType("image/*")]
# Not NDArray[np.uint8]: newer NumPys have it as an alias, which BentoML takes for no array.
Images = Annotated[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Shape((-1, 1, SIDE, SIDE))]

take_over()  # `bentoml serve` imports this module, and then what starts a server


@bentoml.service(
    service_class=WebService,
    workers=read_settings().workers,  # BentoML wants to know when the class is made
    # service.middleware measures and limits requests; BentoML's own do it again, and slowly.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class FashionClassifier:
    """Says what garment a picture shows: LeNet with its batch norms folded, on ONNX Runtime."""

    def __init__(self) -> None:
        self.settings = read_settings()
        self.draining = Draining(self.settings.drain_seconds)
        self.data_plane = DataPlane(
            self.settings, lambda: self.draining.not_ready_reason, self.draining.end
        )
        self._samplers: list[asyncio.Task[None]] = []

    def install_signal_handlers(self) -> None:
        """On the event loop of a worker: SIGHUP loads the model again, SIGTERM drains."""
        if threading.current_thread() is threading.main_thread():  # the only one that may
            self.data_plane.reloading.install_signal_handlers()
            self.draining.install_signal_handlers()
            from service.server import worker_metrics  # only a worker has a folder for metrics

            samplers = (
                in_flight.sample_in_flight(lambda: self.draining.in_flight),
                worker_metrics.sample_process(),
            )
            self._samplers = [asyncio.create_task(task) for task in samplers]

    async def close(self) -> None:
        """Answer what waits, and end the thread that infers."""
        for task in self._samplers:
            task.cancel()
        await self.data_plane.close()

    # BentoML's clients learn from these what there is. Their requests, like all others, are
    # answered by the routes of `service.rest.classify` and `service.rest.predict`.

    @bentoml.api
    async def classify(
        self, image: Picture, mode: Mode = "auto", top_k: int | None = None
    ) -> Classification:
        """Say what garment the picture shows."""
        job = Job([image.read_bytes()], [], self.settings.max_image_pixels, mode)
        return (await self.data_plane.classify(decode(job), RequestTiming(), top_k))[0]

    @bentoml.api
    async def classify_batch(
        self, images: list[Picture], mode: Mode = "auto", top_k: int | None = None
    ) -> list[Classification]:
        """Say what garment each of the pictures shows."""
        contents, names = [image.read_bytes() for image in images], [image.name for image in images]
        job = Job(contents, names, self.settings.max_image_pixels, mode)
        return await self.data_plane.classify(decode(job), RequestTiming(), top_k)

    @bentoml.api
    async def predict(self, images: Images) -> Predictions:
        """Say what garment each image of 28 x 28 shows."""
        return await self.data_plane.predict(images, RequestTiming())
