"""Classify shards with actors of Ray Data, on a cluster or on this machine, in the shards' order.

A node needs this package with the extra `ray`, and the input files under the same paths. The model
is sent with the work. Rows that are ready too early wait in Ray's object store, and on disk if the
store is full.
"""

import logging
import os
import pickle
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from service.errors import EngineError, InputError, ModelError, ServiceError
from service.malloc import tune_malloc_for_batch
from service.offline.classify_chunk import CUDA_BATCH, ClassifyOptions, EncodedRows, classify_batch
from service.offline.inputs.discovery import (
    check_no_rows_left,
    check_resume_point,
    remaining_chunks,
)
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import Chunk, Shard
from service.offline.process_pool import drop_first
from service.runtime.onnx_model import OnnxModel, open_model
from service.settings import Device

if TYPE_CHECKING:
    from ray.data import Dataset

OBJECT_STORE = 256 * 2**20  # bytes; Ray's default is a third of the memory
PART = 8 * 2**20  # bytes of rows that an actor returns at once; Ray's default is 128 MiB
SECONDS_TO_CONNECT = 5
SECONDS_TO_END = 60  # of Ray Data's thread, whose steps are short
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send no statistics to Ray's developers
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray reports lost workers, which it replaces, on stdout
}


class Work(NamedTuple):
    """A shard, and how many of its rows are in the results already."""

    shard: Shard
    rows: int
    last: str | None  # the name in the last of these rows

    def chunks(self, skipped: Skipped) -> Iterator[tuple[Chunk, int]]:
        """Return its chunks that have no row yet; see `remaining_chunks`."""
        return remaining_chunks([self.shard], self.rows, self.last, skipped)


class Classifier:
    """A Ray actor: loads the model once, and classifies one shard after another."""

    def __init__(
        self, content: bytes, device: Device, options: ClassifyOptions, folder: str
    ) -> None:
        """Take the arguments of `classify_on_ray`, and the folder for relative file names."""
        self._given = content, device, options, folder
        self._model: OnnxModel | None = None

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> Iterator[dict[str, list[bytes]]]:
        """Classify one shard with constant memory.

        Args:
            batch: one pickled Work, in the column `work`.

        Yields:
            In the column `piece`, pickled: EncodedRows; at the end Skipped, or an error, which
            would be 200 lines long if it were raised here.
        """
        node = socket.gethostname()
        skipped = Skipped()
        try:
            work = pickle.loads(batch["work"][0])  # noqa: S301 (our own)
            for encoded in self._classified(work, skipped):
                yield _packed(encoded)
            yield _packed(skipped)
        except InputError as error:
            yield _packed(error)
        except ModelError as error:
            yield _packed(EngineError(f"on {node}: {error}"))
        except OSError as error:
            needed = "a node needs the input files under the same paths as here"
            yield _packed(EngineError(f"on {node}: {error}; {needed}"))

    def _classified(self, work: Work, skipped: Skipped) -> Iterator[EncodedRows]:
        content, device, options, folder = self._given
        if self._model is None:
            os.chdir(folder)  # an actor starts where its node's Ray did
            self._model = open_model(content, device, CUDA_BATCH, file=options.file)
            tune_malloc_for_batch()
        if path := getattr(work.shard, "path", None):
            Path(path).stat()  # if it is missing here, the node has an error, not the row
        for chunk, rows in work.chunks(skipped):
            yield classify_batch(self._model, drop_first(chunk.read(), rows), options)


def _packed(encoded: EncodedRows | Skipped | ServiceError) -> dict[str, list[bytes]]:
    return {"piece": [pickle.dumps(encoded)]}


def classify_on_ray(
    shards: Iterable[Shard],
    rows: int,
    last: str | None,
    skipped: Skipped,
    content: bytes,
    device: Device,
    options: ClassifyOptions,
    processes: int | None = None,
) -> Iterator[EncodedRows]:
    """Classify shards on the cluster at `RAY_ADDRESS`, or on a local Ray if it is not set.

    Args:
        shards: the input.
        rows: number of rows that exist already, of the first images.
        last: the name in the last of these rows, None if there are none.
        skipped: counts the skipped members of archives.
        content: the bytes of the model file.
        device: a value of `FASHION_DEVICE`; unless it is `cpu`, each actor gets a GPU if Ray has
            GPUs.
        options: the options for all images.
        processes: number of actors; None for one per processor or GPU.

    Raises:
        InputError: the input has changed or is not valid.
        EngineError: Ray is missing or cannot be reached, a node lacks something that it needs,
            or Ray has lost work that it could not repeat.
    """
    works = list(_remaining_work(shards, rows, last, skipped))
    if not works:
        return
    with _joined(processes):
        from ray.exceptions import RayError

        arguments = content, device, options, str(Path.cwd())
        try:
            for row in _pipeline(works, arguments, device, processes).iter_rows():
                encoded = pickle.loads(row["piece"])  # noqa: S301 (our own)
                if isinstance(encoded, ServiceError):
                    raise encoded
                if isinstance(encoded, Skipped):
                    skipped.update(encoded)
                else:
                    yield encoded
        except RayError as error:
            cause = getattr(error, "cause", None)  # what an actor raised
            reason = f"{type(cause).__name__}: {_lines(cause)[0]}" if cause else _lines(error)[-1]
            raise EngineError(f"Ray: {reason}") from error


def _remaining_work(
    shards: Iterable[Shard], rows: int, last: str | None, skipped: Skipped
) -> Iterator[Work]:
    """Yield the shards that are not complete in the results; read images at the resume point only.

    Raises:
        InputError: the input has changed.
    """
    for shard in shards:
        in_shard = Skipped()  # used only if the shard is complete; else its actor counts
        if rows and (complete := _rows_of_shard(shard, rows, last, in_shard)) < rows:
            rows -= complete
            skipped.update(in_shard)
            continue
        yield Work(shard, rows, last)
        rows, last = 0, None
    check_no_rows_left(rows)


def _rows_of_shard(shard: Shard, rows: int, last: str | None, skipped: Skipped) -> int:
    """Return how many of the existing rows are a shard's; check the resume point if it is here.

    Raises:
        InputError: the input has changed.
    """
    images = 0
    for chunk in shard.chunks(skipped):
        if images + len(chunk) >= rows:
            check_resume_point(chunk, rows - images, last)
            return rows
        images += len(chunk)
    return images


def _pipeline(
    works: Sequence[Work],
    arguments: tuple[bytes, Device, ClassifyOptions, str],
    device: Device,
    processes: int | None,
) -> "Dataset":
    """Return the work as a lazy Dataset; it starts when its rows are read."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = PART
    there = ray.cluster_resources()
    if device == "cuda" and not there.get("GPU"):
        raise EngineError("--device cuda: Ray has no GPU; use cpu or auto")
    kind = "GPU" if device != "cpu" and there.get("GPU") else "CPU"
    actors = min(processes or int(there[kind]), len(works))
    return ray.data.from_items(
        [{"work": pickle.dumps(work)} for work in works], override_num_blocks=len(works)
    ).map_batches(
        Classifier,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
        num_gpus=1 if kind == "GPU" else 0,
    )


@contextmanager
def _joined(processes: int | None) -> Iterator[None]:
    """Join the cluster at `RAY_ADDRESS`, or start a local Ray that ends with the block."""
    os.environ.update({key: os.environ.get(key, value) for key, value in ENVIRONMENT.items()})
    address = os.environ.get("RAY_ADDRESS")
    if not address and "RAY_AUTH_MODE" not in os.environ:
        # A random key, so that no other user of this machine can submit work.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    try:
        import ray.data
    except ImportError as error:
        raise EngineError(
            "--engine ray needs Ray: install requirements/ray.lock, or the package's extra ray"
        ) from error
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":  # the other handler writes to Ray's folder
            handler.setLevel(logging.CRITICAL + 1)
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _see_that_it_answers(address)
            ray.init(address, log_to_driver=False, configure_logging=False)
        else:
            ray.init(
                "local",
                num_cpus=processes,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"the Ray at RAY_ADDRESS={address}" if address else "a Ray on this machine"
        reason = _lines(error.__cause__ or error)[-1]
        raise EngineError(f"{where} cannot be used: {reason}") from error
    try:
        signal.signal(signal.SIGTERM, at_sigterm)  # Ray's own handler would lose waiting rows
        yield
    finally:
        _end_executors()
        ray.shutdown()


def _end_executors() -> None:
    """End Ray Data's threads: one that uses Ray after its shutdown ends this process, with 1.

    An exception keeps the thread of the rows that it interrupted, and Ray Data itself waits 2 s.
    """
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)
            thread.join(SECONDS_TO_END)


def _see_that_it_answers(address: str) -> None:
    """Check that a server listens at the address: Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()


def _lines(error: BaseException) -> list[str]:
    """Return the lines of Ray's message; the last one is the error, after the stack traces."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    return text.splitlines() or [type(error).__name__]
