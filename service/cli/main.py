"""The command line of `python -m service`: `classify INPUT ...` and `info`.

It uses argparse, because pydantic-settings would split file names at commas.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.standard_streams import flush, note, print_error, write
from service.errors import EngineError, InputError, ModelError, OutputError

if TYPE_CHECKING:
    from service.cli.formats import OutputFormat
    from service.offline.classify_files import Result
    from service.settings import ServiceSettings

FAILURE, USAGE = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status.

    Raises:
        BrokenPipeError: standard output has no reader any more.
    """
    try:
        status = _run(_parsed(arguments))
        flush()
        return status
    except InputError as error:
        print_error(str(error))
        return USAGE
    except (ModelError, EngineError, OutputError) as error:
        print_error(str(error))
        return FAILURE


def _parsed(arguments: Sequence[str]) -> Namespace:
    try:
        return _parser().parse_args(arguments)
    finally:
        flush()  # --help


def _run(options: Namespace) -> int:
    # --help and usage errors need not wait for ONNX Runtime.
    from pydantic import ValidationError

    from service.runtime.repository import with_model
    from service.settings import ServiceSettings, describe_faults

    given = {} if options.device is None else {"device": options.device}
    try:
        settings = ServiceSettings(**given)
    except ValidationError as error:
        raise InputError(describe_faults(error)) from error
    if options.model is not None:
        settings = with_model(settings, options.model)
    if options.program == "info":
        return _info(settings, named=options.model is not None)
    return _classify(settings, options) if options.out is None else _bulk(settings, options)


class _Parser(ArgumentParser):
    """A parser that reports an error if its help cannot be written."""

    def print_help(self, file: object = None) -> None:
        """Write the help to standard output."""
        write(self.format_help())


def _parser() -> ArgumentParser:
    parser = _Parser(
        "python -m service",
        description="Classify pictures without a server.",
        epilog="FASHION_DEVICE, FASHION_MODEL, FASHION_MODELS, FASHION_DEFAULT_MODEL and "
        "FASHION_MAX_IMAGE_PIXELS apply here too.",
        allow_abbrev=False,
    )
    programs = parser.add_subparsers(dest="program", required=True)
    classify = programs.add_parser(
        "classify",
        help="say what pictures show",
        description="Say what pictures show. What cannot be read is named on standard "
        "error; the rest is classified, and the exit status is 1.",
        allow_abbrev=False,
    )
    info = programs.add_parser(
        "info",
        help="show the model, the device and the versions",
        description="Show the model, the device and the versions.",
        allow_abbrev=False,
    )
    classify.add_argument(
        "pictures",
        metavar="INPUT",
        nargs="+",
        help="a picture, a folder (all pictures in it and below), or - for standard input; with "
        "--out also a tar archive, an IDX or a Parquet file",
    )
    layout = classify.add_mutually_exclusive_group()
    layout.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    layout.add_argument("--csv", action="store_true", help="CSV instead of a table")
    classify.add_argument("--mode", choices=("auto", "raw", "photo"), default="auto")
    classify.add_argument("--top-k", metavar="K", type=_count, help="how many classes to name")
    large = classify.add_argument_group("large inputs")
    large.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        help="write a row for each picture to PATH.jsonl or to the folder PATH.parquet",
    )
    large.add_argument("--resume", action="store_true", help="continue the results in --out")
    large.add_argument(
        "--processes", metavar="N", type=_count, help="worker processes; else one per processor"
    )
    large.add_argument("--column", metavar="NAME", help="the image column of a Parquet file")
    large.add_argument(
        "--engine",
        choices=("local", "ray"),
        help="classify on this machine (default), or with Ray on a cluster",
    )
    for program in (classify, info):
        program.add_argument(
            "--model",
            metavar="MODEL",
            help="a model.onnx, or the name of a model of FASHION_MODELS",
        )
        program.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to compute")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _classify(settings: "ServiceSettings", options: Namespace) -> int:
    from service.cli.formats import CSV, JSONLines, Table
    from service.offline.classify_files import check_options, classify_files
    from service.offline.inputs.discovery import shards_of_file
    from service.offline.inputs.image_files import Skipped, find_pictures, skipped_summary
    from service.runtime.onnx_model import load_model

    for given in ("resume", "processes", "column", "engine"):
        if getattr(options, given):
            raise InputError(f"--{given} is for large inputs: name the results with --out")
    model = load_model(settings)
    check_options(model, options.mode, options.top_k)
    for argument in options.pictures:
        if shards_of_file(argument, model.signature.image) is not None:
            raise InputError(f"{argument} holds many pictures: name the results with --out")
    skipped = Skipped()
    files, faults = find_pictures(options.pictures, skipped)
    for fault in faults:
        print_error(fault)
    listing = JSONLines() if options.json else CSV() if options.csv else Table(files, model.labels)
    top_k = options.top_k if options.json else options.top_k or 1
    results = classify_files(model, files, settings.max_image_pixels, options.mode, top_k)
    write(listing.head(top_k or 1))
    failed = _list(results, listing, len(files))
    if failed and len(files) > 1:
        print_error(f"{failed} of {len(files)} pictures could not be classified")
    if skipped:
        note(skipped_summary(skipped))
    return FAILURE if failed or faults else 0


def _bulk(settings: "ServiceSettings", options: Namespace) -> int:
    from service.cli.progress import counter
    from service.offline.inputs.image_files import skipped_summary
    from service.offline.job import Job, run

    if options.json or options.csv:
        raise InputError(
            "the name in --out sets the format of the rows: leave out --json and --csv"
        )
    job = Job(
        options.pictures,
        options.out,
        options.resume,
        options.engine or "local",
        options.processes,
        options.column,
        options.mode,
        options.top_k,
    )
    done = run(settings, job, counter)
    besides = f"; {skipped_summary(done.skipped)}" if done.skipped else ""
    write(f"{done.rows:,} rows written to {options.out}{besides}\n")
    flush()
    if done.errors:
        print_error(f"{done.errors:,} of them have no answer: their error says why")
    return FAILURE if done.errors else 0


def _list(results: "Iterable[list[Result]]", listing: "OutputFormat", total: int) -> int:
    """Print results and errors as they come; return the number of files without an answer."""
    from service.cli.progress import progress_bar

    failed = 0
    with progress_bar(total) as bar:
        for batch in results:
            with bar.hidden():
                for file, answer in batch:
                    if isinstance(answer, str):
                        failed += 1
                        print_error(f"{file}: {answer}")
                    else:
                        write(listing.row(file, answer))
                flush()
            bar.advance(len(batch))
    return failed


def _info(settings: "ServiceSettings", named: bool) -> int:
    """Show the default model, or all of them unless it was named."""
    from service.cli.info import describe_model, describe_runtime
    from service.runtime.onnx_model import load_model
    from service.runtime.repository import default_name, find_models

    found = find_models(settings)
    default = found[default_name(settings, found)][-1]
    blocks = [describe_model(default.path, load_model(settings, default))]
    failed = False
    others = [] if named else [file for files in found.values() for file in files]
    for file in others:
        if file == default:
            continue
        try:
            blocks.append(describe_model(file.path, load_model(settings, file)))
        except ModelError as error:
            print_error(f"{file.path}: {error}")
            failed = True
    blocks[-1] |= describe_runtime()
    width = max(map(len, chain.from_iterable(blocks)))
    texts = [
        "".join(f"{name:{width}}  {value}\n" for name, value in block.items()) for block in blocks
    ]
    write("\n".join(texts))
    return FAILURE if failed else 0
