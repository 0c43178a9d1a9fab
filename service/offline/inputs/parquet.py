"""Images in a column of a Parquet file; their names are `FILE#ROW`."""

import multiprocessing
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from service.errors import InputError
from service.offline.background_process import start
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.parquet_reader import serve
from service.offline.inputs.types import Chunk, ImageBatch, UnreadableInput
from service.signature import ImageSpec

PARQUET = b"PAR1"  # Apache Parquet, "File Format"


@dataclass(frozen=True)
class Parquet:
    """The images of one column.

    They are image files, as bytes or as a struct with bytes (Hugging Face data sets); or C x H x W
    numbers from 0 to 255, the network's input.
    """

    path: str
    spec: ImageSpec  # of the model's images
    column: str | None = None  # None for the only possible one

    def chunks(self, skipped: Skipped) -> Iterator[Chunk]:
        """Yield the images in chunks, in order, up to where the file is broken; none is skipped.

        Raises:
            InputError: the column does not exist, or pyarrow is missing.
        """
        row = 0
        with _reader(self.path, self.column, self.spec) as answers:
            while isinstance(answer := _next(answers), Packed):
                yield answer
                row += len(answer)
        if isinstance(answer, InputError):
            raise answer
        if answer:
            yield UnreadableInput(self.path, f"the file is broken after {row:,} rows: {answer}")


@dataclass(frozen=True)
class Packed:
    """A chunk, still pickled as the reader process sent it."""

    rows: int
    content: bytes  # a pickled ImageBatch

    def __len__(self) -> int:
        """Return the number of images."""
        return self.rows

    def read(self) -> ImageBatch:
        """Return the images."""
        batch: ImageBatch = pickle.loads(self.content)  # noqa: S301 (our own)
        return batch


@contextmanager
def _reader(path: str, column: str | None, spec: ImageSpec) -> Iterator[Connection]:
    """Start a process that reads a file, and end the process with the block."""
    context = multiprocessing.get_context("spawn")
    answers, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(path, column, spec, theirs), daemon=True)
    start(process)
    theirs.close()  # so that reading ends when the process ends
    try:
        yield answers
    finally:
        answers.close()
        process.kill()
        process.join()


def _next(answers: Connection) -> Packed | InputError | str:
    try:
        answer: int | InputError | str = answers.recv()
        return Packed(answer, answers.recv_bytes()) if isinstance(answer, int) else answer
    except (EOFError, OSError):
        return "the process that reads it has ended at the next row"
