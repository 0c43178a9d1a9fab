"""`bentoml serve`: the service as BentoML knows it. Requests come in through `service.web`."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType, Shape
from numpy.typing import NDArray

from service import in_hand
from service.answers import Classification, Predictions, classifications, predictions
from service.decoding import Job, decode
from service.draining import Draining
from service.errors import ModelError, NotReady
from service.images import SIDE, Mode, Seen
from service.loading import within_time
from service.model import PROBABILITIES, Model, load_model, read_model, sha256
from service.reloading import Reloading
from service.served_model import ServedModel
from service.starting import read_settings, take_over
from service.timing import Timing
from service.watchman import SQUARED_SHIFT
from service.web import WebService

logger = logging.getLogger("bentoml.fashion_lenet")

Picture = Annotated[Path, ContentType("image/*")]
# Not NDArray[np.uint8]: newer NumPys have it as an alias, which BentoML takes for no array.
Images = Annotated[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Shape((-1, 1, SIDE, SIDE))]

take_over()  # `bentoml serve` imports this module, and then what starts a server


@bentoml.service(
    service_class=WebService,
    workers=read_settings().workers,  # BentoML wants to know when the class is made
    # service.web measures and limits requests; BentoML's own do it again, and slowly.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class FashionClassifier:
    """Says what garment a picture shows: LeNet with its batch norms folded, on ONNX Runtime."""

    def __init__(self) -> None:
        self.settings = read_settings()
        self.fault = ""
        self.draining = Draining(self.settings.drain_seconds)
        self.reloading = Reloading(self._load, self._serve)
        self._served: ServedModel | None = None
        self._telling: list[asyncio.Task[None]] = []
        try:
            self._served = within_time(self._load)
        except ModelError as error:
            # An exception here would have the worker started again and again. It stays, not
            # ready, and says why.
            self.fault = str(error)
            logger.error("Not ready: %s", error)

    @property
    def served(self) -> ServedModel:
        """The model that answers; a request takes it once, and is answered by it to the end.

        Raises:
            NotReady: it could not be loaded, failed its check, or can no longer be run.
        """
        if self._served is None:
            raise NotReady(self.fault)
        return self._served

    @property
    def model(self) -> Model:
        """The same without its batches.

        Raises:
            NotReady: there is none.
        """
        return self.served.model

    @property
    def ready_model(self) -> Model:
        """The same for probes.

        Raises:
            NotReady: there is none, or the server is about to stop.
        """
        if self.draining.fault:
            raise NotReady(self.draining.fault)
        return self.model

    async def classify_seen(
        self, seen: Sequence[Seen], timing: Timing, top_k: int | None = None
    ) -> list[Classification]:
        """Classify decoded pictures.

        Args:
            seen: as `service.images.as_network_sees` gives them.
            timing: takes the time of inference.
            top_k: how many classes an answer names, the most probable first; None for all.

        Raises:
            NotReady: there is no model to classify them.
        """
        served = self.served
        pixels = [pixels for pixels, _ in seen]  # (28, 28) each
        images = pixels[0][None] if len(pixels) == 1 else np.stack(pixels)  # (N, 28, 28)
        images = images[:, None]  # (N, 1, 28, 28)
        names = [PROBABILITIES, SQUARED_SHIFT] if served.watchman else [PROBABILITIES]
        probabilities, *squares = await served.infer(images, names, timing)  # (N, K), (N, 1)
        preprocessings = [preprocessing for _, preprocessing in seen]
        shifts = squares[0][:, 0].tolist() if served.watchman else None
        return classifications(served.model, images, probabilities, preprocessings, shifts, top_k)

    async def predict_images(self, images: NDArray[np.uint8], timing: Timing) -> Predictions:
        """Classify images (N, 1, 28, 28), and note how long it took.

        Raises:
            NotReady: there is no model to classify them.
        """
        served = self.served
        (probabilities,) = await served.infer(images, [PROBABILITIES], timing)  # (N, K)
        return predictions(served.model, probabilities)

    def take_signals(self) -> None:
        """On the event loop of a worker: SIGHUP loads the model again, SIGTERM drains."""
        if threading.current_thread() is threading.main_thread():  # the only one that may
            self.reloading.take_signals()
            self.draining.take_signals()
            from service import worker_metrics  # only a worker has a folder for metrics

            telling = in_hand.tell(lambda: self.draining.in_hand), worker_metrics.tell()
            self._telling = [asyncio.create_task(task) for task in telling]

    async def close(self) -> None:
        """Answer what waits, and end the thread that infers."""
        for task in self._telling:
            task.cancel()
        if self._served is not None:
            await self._served.close()

    def _load(self) -> ServedModel | None:
        """Load the file; None if it is the one that is served."""
        settings = self.settings
        content = read_model(settings.model)
        if self._served is not None and sha256(content) == self._served.model.sha256:
            logger.info(
                "The model is not changed: %s has the same content as before (SHA-256 %s)",
                settings.model,
                self._served.model.sha256,
            )
            return None
        model = load_model(settings, content)
        logger.info(
            "Model %s %s runs on %s (%s). SHA-256 of %s: %s",
            model.name,
            model.version,
            model.device,
            model.execution_provider,
            settings.model,
            model.sha256,
        )
        if settings.watch and model.input_statistics is None:
            logger.info("The model has no input statistics: nobody watches what comes in.")
        return ServedModel(model, settings.max_batch, self._lose, settings.watch)

    def _serve(self, served: ServedModel) -> None:
        """Answer with another model from now on."""
        from service.metrics import note_model  # only a worker has a folder for metrics

        note_model(served.model, None if self._served is None else self._served.model)
        self._served = served

    def _lose(self, fault: str) -> None:
        """End this worker, for another to take its place: its model can no longer be run."""
        logger.critical("This worker ends, another takes its place: %s", fault)
        self._served, self.fault = None, fault
        self.draining.end()

    # BentoML's clients learn from these what there is. Their requests, like all others, are
    # answered by the routes of `service.pictures` and `service.predictions`.

    @bentoml.api
    async def classify(
        self, image: Picture, mode: Mode = "auto", top_k: int | None = None
    ) -> Classification:
        """Say what garment the picture shows."""
        job = Job([image.read_bytes()], [], self.settings.max_image_pixels, mode)
        return (await self.classify_seen(decode(job), Timing(), top_k))[0]

    @bentoml.api
    async def classify_batch(
        self, images: list[Picture], mode: Mode = "auto", top_k: int | None = None
    ) -> list[Classification]:
        """Say what garment each of the pictures shows."""
        contents, names = [image.read_bytes() for image in images], [image.name for image in images]
        job = Job(contents, names, self.settings.max_image_pixels, mode)
        return await self.classify_seen(decode(job), Timing(), top_k)

    @bentoml.api
    async def predict(self, images: Images) -> Predictions:
        """Say what garment each image of 28 x 28 shows."""
        return await self.predict_images(images, Timing())
