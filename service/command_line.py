"""The command line of `python -m service`: `classify INPUT ...` and `info`.

It is argparse's, since pydantic-settings would split a file's name at its commas.
"""

import io
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.listings import Listing
    from service.offline import Result
    from service.settings import ServiceSettings

FAILURE, USAGE = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run the program that the arguments name; return its exit status."""
    options = _parser().parse_args(arguments)
    # --help and usage errors need not wait for ONNX Runtime.
    from pydantic import ValidationError

    from service.errors import EngineError, InputError, ModelError
    from service.settings import ServiceSettings, describe_faults

    given = {"device": options.device, "model": options.model}
    try:
        settings = ServiceSettings(**{k: v for k, v in given.items() if v is not None})
        if options.program == "info":
            return _info(settings)
        return _classify(settings, options) if options.out is None else _bulk(settings, options)
    except ValidationError as error:
        _complain(describe_faults(error))
        return USAGE
    except InputError as error:
        _complain(str(error))
        return USAGE
    except (ModelError, EngineError) as error:
        _complain(str(error))
        return FAILURE


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m service",
        description="Classify pictures of garments without a server.",
        epilog="FASHION_DEVICE, FASHION_MODEL and FASHION_MAX_IMAGE_PIXELS hold here too.",
        allow_abbrev=False,
    )
    programs = parser.add_subparsers(dest="program", required=True)
    classify = programs.add_parser(
        "classify",
        help="say what garments pictures show",
        description="Say what garments pictures show. What cannot be read is named on standard "
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
    large.add_argument("--resume", action="store_true", help="go on with what --out has")
    large.add_argument(
        "--processes", metavar="N", type=_count, help="how many classify; else all processors"
    )
    large.add_argument("--column", metavar="NAME", help="of a Parquet file, the pictures")
    large.add_argument(
        "--engine",
        choices=("local", "ray"),
        help="classify on this machine, as without it, or by Ray on a cluster",
    )
    for program in (classify, info):
        program.add_argument("--model", metavar="PATH", type=Path, help="a model.onnx")
        program.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to compute")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number to count with, 1 or more is right")
    return int(text)


def _classify(settings: "ServiceSettings", options: Namespace) -> int:
    from service.errors import InputError
    from service.listings import CSV, JSONLines, Table
    from service.model import load_model
    from service.offline import check_top_k, classify_files
    from service.picture_files import find_pictures
    from service.shards import of_many

    for given in ("resume", "processes", "column", "engine"):
        if getattr(options, given):
            raise InputError(f"--{given} is for large inputs: name the results with --out")
    for argument in options.pictures:
        if of_many(argument) is not None:
            raise InputError(f"{argument} holds many pictures: name the results with --out")
    model = load_model(settings)
    check_top_k(model, options.top_k)
    files, faults = find_pictures(options.pictures)
    for fault in faults:
        _complain(fault)
    listing = JSONLines() if options.json else CSV() if options.csv else Table(files, model.labels)
    top_k = options.top_k if options.json else options.top_k or 1
    results = classify_files(model, files, settings.max_image_pixels, options.mode, top_k)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no Unicode
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    print(listing.head(top_k or 1), end="")
    failed = _list(results, listing, len(files))
    if failed and len(files) > 1:
        _complain(f"{failed} of {len(files)} pictures could not be classified")
    return FAILURE if failed or faults else 0


def _bulk(settings: "ServiceSettings", options: Namespace) -> int:
    from service.bulk import Job, run
    from service.errors import InputError

    if options.json or options.csv:
        raise InputError("--out says by its name how rows are written: leave --json and --csv out")
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
    try:
        rows, faults = run(settings, job)
    except OSError as error:
        _complain(f"--out {options.out}: {error.strerror or error}")
        return FAILURE
    print(f"{rows:,} rows written to {options.out}")
    if faults:
        _complain(f"{faults:,} of them have no answer: their error says why")
    return FAILURE if faults else 0


def _list(results: "Iterable[list[Result]]", listing: "Listing", total: int) -> int:
    """List the results as they come, and complain of those that are none; return how many."""
    from service.progress_bar import progress_bar

    failed = 0
    with progress_bar(total) as bar:
        for batch in results:
            with bar.hidden():
                for file, answer in batch:
                    if isinstance(answer, str):
                        failed += 1
                        _complain(f"{file}: {answer}")
                    else:
                        print(listing.row(file, answer), end="")
                sys.stdout.flush()
            bar.advance(len(batch))
    return failed


def _info(settings: "ServiceSettings") -> int:
    from service.information import describe
    from service.model import load_model

    facts = describe(settings.model, load_model(settings))
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def _complain(text: str) -> None:
    """Tell a person what went wrong; a file's name must not command the terminal."""
    from service.listings import printable

    print(f"error: {printable(text)}", file=sys.stderr)
