"""`python -m service classify --out`: classify a large input; a stopped run can resume."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from service.errors import InputError, OutputError
from service.malloc import tune_malloc_for_batch
from service.offline.classify_chunk import ClassifyOptions, EncodedRows
from service.offline.classify_files import check_options
from service.offline.inputs.discovery import find_shards, remaining_chunks
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import Shard, display_name
from service.offline.manifest import claim_output, inputs
from service.offline.result_writers import Results, open_results
from service.preprocessing.pipeline import Mode
from service.runtime.onnx_model import load_model
from service.runtime.repository import default_file, read_model
from service.settings import Device, ServiceSettings

TERMINATED = 128 + signal.SIGTERM

Counter = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Job:
    """The options of one run."""

    arguments: Sequence[str]
    out: Path
    resume: bool = False
    engine: Literal["local", "ray"] = "local"
    processes: int | None = None  # None for one per processor
    column: str | None = None
    mode: Mode = "auto"
    top_k: int | None = None


class Done(NamedTuple):
    """The totals of a job."""

    rows: int  # written by this run
    errors: int  # rows without an answer
    skipped: Skipped


def run(settings: ServiceSettings, job: Job, counter: Counter) -> Done:
    """Classify all images that have no row yet, and write their rows.

    Args:
        settings: the model and its device.
        job: the options of this run.
        counter: takes the number of existing rows; gives a function that takes the number of
            new rows.

    Raises:
        InputError: the input or the output is not valid.
        EngineError: the worker processes cannot continue.
        ModelError: the model cannot be served.
        OutputError: the results cannot be written.
    """
    # Ray's nodes have the requested device; this process may not. It only checks the model, and the
    # processes that classify have one processor each.
    by_ray = job.engine == "ray"
    here = settings.model_copy(
        update={"threads": 1, "device": "cpu" if by_ray else settings.device}
    )
    file = default_file(settings)
    content = read_model(file.path)
    model = load_model(here, file, content)
    device = settings.device if by_ray else model.device
    check_options(model, job.mode, job.top_k)
    if "-" in job.arguments:
        raise InputError("-: standard input cannot be read again for --resume: name a file")
    open_them = open_results(job.out, model, job.top_k)
    with _written_to(job.out):
        claim_output(job.out, _made_of(settings, job, model.sha256), job.resume)
    tune_malloc_for_batch()
    with _ended_by_sigterm(), _opened(job.out, open_them) as results:
        options = ClassifyOptions(
            results.encoder, settings.max_image_pixels, job.mode, settings.watch, file
        )
        rows = errors = 0
        skipped = Skipped()
        with counter(results.rows) as count:
            shards = find_shards(job.arguments, skipped, model.signature.image, job.column)
            for encoded in _classified(job, shards, results, content, device, options, skipped):
                with _written_to(job.out):
                    results.write(encoded)
                rows, errors = rows + encoded.rows, errors + encoded.errors
                count(encoded.rows)
    return Done(rows, errors, skipped)


@contextmanager
def _opened(out: Path, open_results: Callable[[], Results]) -> Iterator[Results]:
    with _written_to(out):
        results = open_results()
    try:
        yield results
    finally:
        with _written_to(out):
            results.close()


@contextmanager
def _written_to(out: Path) -> Iterator[None]:
    """Turn an OSError in the block into an OutputError that names the output."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"--out {out}: {error.strerror or error}") from error


def _classified(
    job: Job,
    shards: Iterator[Shard],
    results: Results,
    content: bytes,
    device: Device,
    options: ClassifyOptions,
    skipped: Skipped,
) -> Iterator[EncodedRows]:
    if job.engine == "ray":
        from service.offline.ray_engine import classify_on_ray

        return classify_on_ray(
            shards, results.rows, results.last, skipped, content, device, options, job.processes
        )
    from service.offline.process_pool import classify_locally

    # Several processes would only wait for each other on one GPU.
    processes = job.processes or (1 if device == "cuda" else len(os.sched_getaffinity(0)))
    work = remaining_chunks(shards, results.rows, results.last, skipped)
    return classify_locally(work, content, device, options, processes)


def _made_of(settings: ServiceSettings, job: Job, model_sha256: str) -> dict[str, object]:
    """Return everything that the rows depend on, for the manifest."""
    return {
        "inputs": inputs(job.arguments),
        "model_sha256": model_sha256,
        "max_image_pixels": settings.max_image_pixels,
        "watch": settings.watch,
        "column": None if job.column is None else display_name(job.column),
        "mode": job.mode,
        "top_k": job.top_k,
    }


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM end the block like an exception, so that finished rows are still written."""

    def end(*_: object) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
