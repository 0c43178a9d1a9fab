"""Which picture files the arguments of a command line mean."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from service.preprocessing.formats import SUFFIXES

STANDARD_INPUT = "-"
MACOS_FOLDER = "__MACOSX"

# Why files are passed over.
NO_PICTURE = "no picture by its name"
OF_MACOS = "of macOS"
NO_FILE = "a link to a folder, or no regular file"


class Skipped(Counter[str]):
    """How many files were passed over, by the reason."""


class Unreadable(NamedTuple):
    """A folder that cannot be read."""

    path: str
    reason: str


def find_pictures(arguments: Sequence[str], skipped: Skipped) -> tuple[list[str], list[str]]:
    """Put the picture files in it, sorted, in the place of each folder.

    Links to folders are not followed. What is not a folder stands for itself, whatever its name.

    Args:
        arguments: files, folders, or `-`.
        skipped: counts what is passed over in folders.

    Returns:
        the names of the files; and faults, each for a folder that cannot be read or holds none.
    """
    files: list[str] = []
    faults: list[str] = []
    for argument in arguments:
        if argument == STANDARD_INPUT or not is_folder(argument):
            files.append(argument)
            continue
        before = len(files), len(faults)
        for found in walk(argument, skipped):
            if isinstance(found, Unreadable):
                faults.append(f"{found.path}: {found.reason}")
            else:
                files.append(found)
        if before == (len(files), len(faults)):
            faults.append(f"{argument}: there is no picture in this folder, by its files' names")
    return files, faults


def is_folder(path: str) -> bool:
    """Say whether a path leads to a folder; one that leads nowhere does not."""
    return _kind(path) == stat.S_IFDIR


def is_file(path: str) -> bool:
    """Say whether a path leads to a regular file."""
    return _kind(path) == stat.S_IFREG


def reason_to_skip(path: str) -> str | None:
    """Say why a file in a folder or an archive is passed over, by its name; None if it is not."""
    if is_of_macos(path):
        return OF_MACOS
    stem, _, suffix = path.rpartition(".")  # a path's own way takes 3 us
    if f".{suffix.lower()}" in SUFFIXES and stem[-1:] not in ("", "/"):
        return None
    return NO_PICTURE


def is_of_macos(path: str) -> bool:
    """Say whether macOS keeps something there that other systems have no place for.

    Its archives have, beside each `coat.png`, the attributes of that file as `._coat.png` or
    `__MACOSX/._coat.png`.
    """
    *folders, name = path.split("/")
    return name.startswith("._") or MACOS_FOLDER in folders


def skipped_summary(skipped: Skipped) -> str:
    """Tell what was passed over; nothing if nothing was."""
    if not skipped:
        return ""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(skipped.items()))
    return f"passed over: {skipped.total():,} ({reasons})"


def walk(folder: str, skipped: Skipped) -> Iterator[str | Unreadable]:
    """Find the pictures in a folder and below, each folder's names in order.

    Memory grows with the names of one folder and of those above it, not with all.
    """
    open_folders = [_entries(folder)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, Unreadable):
            yield entry
        elif reason := _reason_to_skip(entry):
            skipped[reason] += 1
        elif _is_folder(entry):
            open_folders.append(_entries(entry.path))
        else:
            yield entry.path


def _entries(folder: str) -> Iterator[os.DirEntry[str] | Unreadable]:
    try:
        with os.scandir(folder) as found:
            return iter(sorted(found, key=lambda entry: entry.name))
    except OSError as error:
        return iter([Unreadable(folder, error.strerror or str(error))])


def _reason_to_skip(entry: os.DirEntry[str]) -> str | None:
    """Say why something in a folder is passed over; None for a folder and for a picture.

    A link that leads nowhere is none: reading it will tell why.
    """
    if _is_folder(entry):
        return OF_MACOS if entry.name == MACOS_FOLDER else None
    reason = reason_to_skip(entry.name)
    try:
        # For what is no link, and has a picture's name, the folder's own entry tells.
        if entry.is_symlink() and entry.is_dir():
            return NO_FILE
        return reason or (None if entry.is_file() or not entry.stat() else NO_FILE)
    except OSError:
        return reason


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _kind(path: str) -> int:
    try:
        return stat.S_IFMT(Path(path).stat().st_mode)
    except OSError:
        return 0
