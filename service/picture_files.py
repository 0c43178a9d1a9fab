"""Which picture files the arguments of a command line mean."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from service.formats import SUFFIXES

STANDARD_INPUT = "-"


def find_pictures(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Put the picture files in it, sorted, in the place of each folder.

    Links to folders are not followed. What is not a folder stands for itself, whatever its name.

    Args:
        arguments: files, folders, or `-`.

    Returns:
        the names of the files; and faults, each for a folder that cannot be read or holds none.
    """
    files: list[str] = []
    faults: list[str] = []
    for argument in arguments:
        if argument == STANDARD_INPUT or not Path(argument).is_dir():
            files.append(argument)
            continue
        before = len(files), len(faults)
        files.extend(
            walk(argument, lambda error: faults.append(f"{error.filename}: {error.strerror}"))
        )
        if before == (len(files), len(faults)):
            faults.append(f"{argument}: there is no picture in this folder, by its files' names")
    return files, faults


def is_picture(name: str) -> bool:
    """Say whether a file is a picture, by its suffix."""
    stem, _, suffix = name.rpartition(".")  # a path's own way takes 3 us
    return f".{suffix.lower()}" in SUFFIXES and stem[-1:] not in ("", "/")


def walk(folder: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Find the pictures in a folder and below, each folder's names in order.

    Memory grows with the names of one folder, not with all. A folder that cannot be read stands
    for itself, unless onerror is told of it.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if onerror:
            onerror(error)
        else:
            yield folder
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path, onerror)
        # Neither pipes nor devices; but links to what is gone, so that they are complained of.
        elif is_picture(entry.name) and (entry.is_file() or not Path(entry.path).exists()):
            yield entry.path
