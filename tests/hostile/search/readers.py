"""What reads a file that a client sends, or that is named on the command line; nothing else."""

import re
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

from service.http.content_encoding import inflate
from service.http.multipart_form import parse_multipart
from service.offline.inputs.discovery import find_shards
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.parquet_reader import TOO_MUCH, serve
from service.oip.rest_request import parse_request
from service.preprocessing.decoding import Job, decode
from service.rest.predict import read_images
from service.settings import ServiceSettings
from tests.service.pictures import FASHION

SETTINGS = ServiceSettings()
BOUNDARY = "b"
NO_MEMORY = re.compile(r"(re|m)alloc|[Mm]emory")


def picture(path: Path) -> None:
    """As a decoder process does, which has limits of its own in the place of these."""
    decode(Job([path.read_bytes()], [], SETTINGS.max_image_pixels, FASHION))


def numbers(path: Path) -> None:
    """As `/predict` does."""
    read_images(path.read_bytes(), FASHION)


def inference(path: Path) -> None:
    """As the Open Inference Protocol's route does with a body that gzip has compressed."""
    parse_request(inflate(path.read_bytes(), "gzip", SETTINGS.max_body_bytes), None, FASHION.shape)


def form(path: Path) -> None:
    """As the routes for pictures do."""
    parse_multipart(path.read_bytes(), f"multipart/form-data; boundary={BOUNDARY}")


def parquet(path: Path) -> None:
    """As the process does that reads Parquet for `classify --out`."""
    answers, theirs = Pipe(duplex=False)

    def drain() -> None:
        while isinstance(answers.recv(), int):
            answers.recv_bytes()

    thread = Thread(target=drain)
    thread.start()
    serve(str(path), None, FASHION, theirs)
    thread.join()


def large_input(path: Path) -> None:
    """As `classify --out` does, before anything is classified.

    Raises:
        MemoryError: a file's fault is that there was no memory to read it.
    """
    for shard in find_shards([str(path)], Skipped(), FASHION):
        for span in shard.chunks(Skipped()):
            for found in span.read().pictures:
                if isinstance(found, str) and NO_MEMORY.search(found.replace(TOO_MUCH, "")):
                    raise MemoryError(found)  # which there would be without a limit
