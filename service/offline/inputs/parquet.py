"""A Parquet file with a column of pictures: `FILE#ROW`."""

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

PARQUET = b"PAR1"  # Apache Parquet, "File Format"


@dataclass(frozen=True)
class Parquet:
    """The pictures of one column.

    They are files, as bytes or, as Hugging Face's data sets have them, as a struct with bytes; or
    784 numbers from 0 to 255, what the network sees.
    """

    path: str
    column: str | None = None  # None for the only one that can be it

    def spans(self, skipped: Skipped) -> Iterator[Chunk]:
        """Read them in order, or to where the file is broken; of rows none is passed over.

        Raises:
            InputError: there is no such column, or pyarrow is missing.
        """
        row = 0
        with _reader(self.path, self.column) as answers:
            while isinstance(answer := _next(answers), Packed):
                yield answer
                row += len(answer)
        if isinstance(answer, InputError):
            raise answer
        if answer:
            yield UnreadableInput(self.path, f"the file is broken behind {row:,} rows: {answer}")


@dataclass(frozen=True)
class Packed:
    """A span as the process that read it has sent it."""

    rows: int
    content: bytes  # a pickled Block

    def __len__(self) -> int:
        """How many pictures there are."""
        return self.rows

    def read(self) -> ImageBatch:
        """Return them."""
        block: ImageBatch = pickle.loads(self.content)  # noqa: S301 (our own)
        return block


@contextmanager
def _reader(path: str, column: str | None) -> Iterator[Connection]:
    """Start a process that reads a file, and end it with the block."""
    context = multiprocessing.get_context("spawn")
    answers, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(path, column, theirs), daemon=True)
    start(process)
    theirs.close()  # so that the end of the process is the end of what can be read
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
        return "what comes next ends the process that reads it"
