"""`python -m service classify --out`: a large input, to results that can be gone on with."""

import hashlib
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
from service.offline.classify_files import check_top_k
from service.offline.inputs.discovery import find_shards, remaining_chunks
from service.offline.inputs.image_files import Skipped
from service.offline.inputs.types import display_name
from service.offline.manifest import claim_output, inputs
from service.offline.result_writers import Results, open_results
from service.preprocessing.pipeline import Mode
from service.runtime.onnx_model import load_model, read_model
from service.settings import Device, ServiceSettings

TERMINATED = 128 + signal.SIGTERM

Counter = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Job:
    """What is asked for."""

    arguments: Sequence[str]
    out: Path
    resume: bool = False
    engine: Literal["local", "ray"] = "local"
    processes: int | None = None  # None for as many as there are processors
    column: str | None = None
    mode: Mode = "auto"
    top_k: int | None = None


class Done(NamedTuple):
    """What became of a job."""

    rows: int  # that were written
    faults: int  # of them have no answer
    skipped: Skipped


def run(settings: ServiceSettings, job: Job, counter: Counter) -> Done:
    """Classify all that has no row yet.

    Args:
        settings: name the model, and what it runs on.
        job: what is asked for.
        counter: given the number of rows that there are, takes the number of each lot more.

    Raises:
        InputError: the input or the output is not what it should be.
        EngineError: the processes that classify cannot go on.
        ModelError: the model cannot be served.
        OutputError: the results cannot be written.
    """
    # Ray's nodes have the device that is asked for; this process need not.
    by_ray = job.engine == "ray"
    here = settings.model_copy(update={"device": "cpu"}) if by_ray else settings
    content = read_model(settings.model)
    model = load_model(here, content)
    device = settings.device if by_ray else model.device
    check_top_k(model, job.top_k)
    if "-" in job.arguments:
        raise InputError("-: standard input cannot be read again for --resume: name a file")
    open_them = open_results(job.out, model, job.top_k)
    with _written_to(job.out):
        claim_output(job.out, _made_of(settings, job, content), job.resume)
    tune_malloc_for_batch()
    with _ended_by_sigterm(), _opened(job.out, open_them) as results:
        choices = ClassifyOptions(
            results.layout, settings.max_image_pixels, job.mode, settings.watch
        )
        rows = faults = 0
        skipped = Skipped()
        with counter(results.rows) as count:
            for piece in _pieces(job, results, content, device, choices, skipped):
                with _written_to(job.out):
                    results.write(piece)
                rows, faults = rows + piece.rows, faults + piece.faults
                count(piece.rows)
    return Done(rows, faults, skipped)


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
    """Blame the output for what fails in the block."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"--out {out}: {error.strerror or error}") from error


def _pieces(
    job: Job,
    results: Results,
    content: bytes,
    device: Device,
    choices: ClassifyOptions,
    skipped: Skipped,
) -> Iterator[EncodedRows]:
    shards = find_shards(job.arguments, skipped, job.column)
    if job.engine == "ray":
        from service.offline.ray_engine import classify_on_ray

        return classify_on_ray(
            shards, results.rows, results.last, skipped, content, device, choices, job.processes
        )
    from service.offline.process_pool import classify_locally

    # Several processes would only take turns on a GPU.
    processes = job.processes or (1 if device == "cuda" else len(os.sched_getaffinity(0)))
    work = remaining_chunks(shards, results.rows, results.last, skipped)
    return classify_locally(work, content, device, choices, processes)


def _made_of(settings: ServiceSettings, job: Job, content: bytes) -> dict[str, object]:
    """Return what a row depends on."""
    return {
        "inputs": inputs(job.arguments),
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "max_image_pixels": settings.max_image_pixels,
        "watch": settings.watch,
        "column": None if job.column is None else display_name(job.column),
        "mode": job.mode,
        "top_k": job.top_k,
    }


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end the block as an error would, so that what was taken is written."""

    def end(*_: object) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
