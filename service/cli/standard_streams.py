"""Standard output and standard error, which may be closed, full, or without a reader."""

import io
import os
import sys
from contextlib import suppress

from service.errors import OutputError


def open_closed_streams() -> None:
    """Reserve closed descriptors 0 to 2, so that no later file becomes a standard stream.

    Closed standard input and output stay None in `sys`, so that an error can be reported.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            with suppress(OSError):
                os.fstat(number)
                continue  # the descriptor is in use
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets this number
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may not be Unicode
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def write(text: str) -> None:
    """Write to standard output.

    Raises:
        OutputError: it cannot be written to.
        BrokenPipeError: it has no reader any more.
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
    """Flush standard output.

    Raises:
        OutputError: it cannot be written to.
        BrokenPipeError: it has no reader any more.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error


def print_error(text: str) -> None:
    """Print an error message to standard error."""
    note(f"error: {text}")


def note(text: str) -> None:
    """Print a message to standard error; control codes, as in file names, are escaped."""
    from service.cli.formats import printable

    with suppress(OSError):  # the exit status still reports the error
        print(printable(text), file=sys.stderr, flush=True)


def drop_what_is_left() -> None:
    """Drop buffered output that cannot be written: Python would fail on it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
