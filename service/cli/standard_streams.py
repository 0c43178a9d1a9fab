"""Standard output and standard error, which may be closed, full, or read by nobody any more."""

import io
import os
import sys
from contextlib import suppress

from service.errors import OutputError


def open_closed_streams() -> None:
    """Have no file that is opened later become standard input, output or error.

    Standard input and output stay None where they are closed, so that it can be told.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            with suppress(OSError):
                os.fstat(number)
                continue  # something else has it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which is this number
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no Unicode
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def write(text: str) -> None:
    """Write to standard output.

    Raises:
        OutputError: it cannot be written to.
        BrokenPipeError: nobody reads any more.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error


def flush() -> None:
    """Have all that was written where it belongs.

    Raises:
        OutputError: it cannot be written to.
        BrokenPipeError: nobody reads any more.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error


def print_error(text: str) -> None:
    """Tell a person what went wrong."""
    note(f"error: {text}")


def note(text: str) -> None:
    """Tell a person something; a file's name must not command the terminal."""
    from service.cli.formats import printable

    with suppress(OSError):  # where nothing can be told, the exit status tells
        print(printable(text), file=sys.stderr, flush=True)


def drop_what_is_left() -> None:
    """Leave nothing in the buffers that cannot be written: Python would fail of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
