"""Shards classified by actors of Ray Data, on a cluster or on this machine, in the shards' order.

A node needs this package with the extra `ray`, and the input's files where the program has them;
the model comes to it with the work. Rows whose turn has not come lie in Ray's object store, and on
the disk where that is full.
"""

import logging
import os
import pickle
import re
import secrets
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from service.errors import EngineError, InputError, ModelError, ServiceError
from service.malloc import tune_malloc_for_batch
from service.offline.classify_chunk import ClassifyOptions, EncodedRows, classify_block
from service.offline.inputs.discovery import remaining_chunks
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import Chunk, Shard
from service.offline.process_pool import without
from service.runtime.onnx_model import OnnxModel
from service.runtime.onnx_session import create_session
from service.settings import Device

if TYPE_CHECKING:
    from ray.data import Dataset

OBJECT_STORE = 256 * 2**20  # bytes, where Ray would take a third of the memory
PART = 8 * 2**20  # bytes of rows that an actor hands over; Ray would wait for 128 MiB of them
SECONDS_TO_CONNECT = 5
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to Ray's makers
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray tells of lost workers, which it replaces, on stdout
}


class Work(NamedTuple):
    """A shard, and what there is of it in the results."""

    shard: Shard
    rows: int
    last: str | None  # the name in the last of them

    def spans(self, skipped: Skipped) -> Iterator[tuple[Chunk, int]]:
        """Give its spans that have no row yet, as `remaining_chunks` does."""
        return remaining_chunks([self.shard], self.rows, self.last, skipped)


class Classifier:
    """What an actor is: the model, loaded once, and shards classified one after another."""

    def __init__(
        self, content: bytes, device: Device, choices: ClassifyOptions, folder: str
    ) -> None:
        """Take what `classify_on_ray` is given, and the folder that files' names start from."""
        self._given = content, device, choices, folder
        self._model: OnnxModel | None = None

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> Iterator[dict[str, list[bytes]]]:
        """Do a piece of work, in memory that does not grow with it.

        Args:
            batch: one pickled Work, as the column `work`.

        Yields:
            as the column `piece`, pickled: a Piece, or at the end what was passed over, or an
            error, which would come as 200 lines if it were raised here.
        """
        node = socket.gethostname()
        skipped = Skipped()
        try:
            work = pickle.loads(batch["work"][0])  # noqa: S301 (our own)
            for piece in self._pieces(work, skipped):
                yield _packed(piece)
            yield _packed(skipped)
        except InputError as error:
            yield _packed(error)
        except ModelError as error:
            yield _packed(EngineError(f"on {node}: {error}"))
        except OSError as error:
            needed = "a node needs the input's files under the names that they have here"
            yield _packed(EngineError(f"on {node}: {error}; {needed}"))

    def _pieces(self, work: Work, skipped: Skipped) -> Iterator[EncodedRows]:
        content, device, choices, folder = self._given
        if self._model is None:
            os.chdir(folder)  # an actor starts where its node's Ray did
            self._model = OnnxModel(create_session(content, device))
            self._model.check()
            tune_malloc_for_batch()
        if path := getattr(work.shard, "path", None):
            Path(path).stat()  # a row that says so would be this node's fault
        for span, rows in work.spans(skipped):
            yield classify_block(self._model, without(span.read(), rows), choices)


def _packed(piece: EncodedRows | Skipped | ServiceError) -> dict[str, list[bytes]]:
    return {"piece": [pickle.dumps(piece)]}


def classify_on_ray(
    shards: Iterable[Shard],
    rows: int,
    last: str | None,
    skipped: Skipped,
    content: bytes,
    device: Device,
    choices: ClassifyOptions,
    processes: int | None = None,
) -> Iterator[EncodedRows]:
    """Classify shards on the cluster that `RAY_ADDRESS` names, else on a Ray of this machine.

    Args:
        shards: of the input.
        rows: of the first pictures, which there are.
        last: the name in the last of them, None for none.
        skipped: counts what is passed over in archives.
        content: of the model's file.
        device: as `FASHION_DEVICE` has it: where Ray has GPUs, each actor gets one, but for `cpu`.
        choices: for all pictures.
        processes: how many actors there are; None for one on each processor, or each GPU.

    Raises:
        InputError: the input has changed, or is not what it should be.
        EngineError: Ray is missing or cannot be reached, a node has not what it needs, or Ray
            has lost work that it could not repeat.
    """
    works = list(_left(shards, rows, last, skipped))
    if not works:
        return
    with _joined(processes):
        from ray.exceptions import RayError

        arguments = content, device, choices, str(Path.cwd())
        try:
            for row in _pipeline(works, arguments, device, processes).iter_rows():
                piece = pickle.loads(row["piece"])  # noqa: S301 (our own)
                if isinstance(piece, ServiceError):
                    raise piece
                if isinstance(piece, Skipped):
                    skipped.update(piece)
                else:
                    yield piece
        except RayError as error:
            cause = getattr(error, "cause", None)  # what an actor raised
            reason = f"{type(cause).__name__}: {_lines(cause)[0]}" if cause else _lines(error)[-1]
            raise EngineError(f"Ray: {reason}") from error


def _left(shards: Iterable[Shard], rows: int, last: str | None, skipped: Skipped) -> Iterator[Work]:
    """Find the shards that are not whole in the results, without reading pictures.

    Raises:
        InputError: the input has changed.
    """
    for shard in shards:
        pictures = 0
        in_shard = Skipped()  # by whoever classifies it, unless that is done
        for span in shard.spans(in_shard) if rows else ():
            pictures += len(span)
            if pictures >= rows:
                break
        if pictures < rows:
            rows -= pictures
            skipped.update(in_shard)
            continue
        work = Work(shard, rows, last)
        if rows:
            next(work.spans(Skipped()), None)  # compares names
        yield work
        rows, last = 0, None
    next(remaining_chunks([], rows, last, skipped), None)  # complains of rows that are left


def _pipeline(
    works: Sequence[Work],
    arguments: tuple[bytes, Device, ClassifyOptions, str],
    device: Device,
    processes: int | None,
) -> "Dataset":
    """Lay out the work for Ray Data; it begins when the rows are asked for."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = PART
    there = ray.cluster_resources()
    if device == "cuda" and not there.get("GPU"):
        raise EngineError("--device cuda: Ray has no GPU; cpu or auto would be right")
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
    """Join the cluster that `RAY_ADDRESS` names, or start a Ray that ends with this."""
    os.environ.update({key: os.environ.get(key, value) for key, value in ENVIRONMENT.items()})
    address = os.environ.get("RAY_ADDRESS")
    if not address and "RAY_AUTH_MODE" not in os.environ:
        # A key of its own, so that nobody else on this machine can give it work.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    try:
        import ray.data
    except ImportError as error:
        raise EngineError(
            "--engine ray needs Ray: install requirements/ray.lock, or the package's extra ray"
        ) from error
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":  # the other one writes to Ray's folder
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
        signal.signal(signal.SIGTERM, at_sigterm)  # Ray's end would lose rows that are held
        yield
    finally:
        ray.shutdown()


def _see_that_it_answers(address: str) -> None:
    """Connect as Ray will: where nobody listens it would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()


def _lines(error: BaseException) -> list[str]:
    """Split what Ray says; it ends with the fault, and before that are stacks of calls."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    return text.splitlines() or [type(error).__name__]
