"""Find the image files that the arguments of a command line name."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from service.preprocessing.formats import SUFFIXES

STANDARD_INPUT = "-"
MACOS_FOLDER = "__MACOSX"

# Why files are skipped.
NO_PICTURE = "not a picture by its name"
OF_MACOS = "of macOS"
NO_FILE = "a link to a folder, or not a regular file"


class Skipped(Counter[str]):
    """The number of skipped files for each reason."""


class Unreadable(NamedTuple):
    """A folder that cannot be read."""

    path: str
    reason: str


def find_pictures(arguments: Sequence[str], skipped: Skipped) -> tuple[list[str], list[str]]:
    """Replace each folder by the image files in it, sorted.

    Links to folders are not followed. An argument that is not a folder is kept, whatever its name.

    Args:
        arguments: files, folders, or `-`.
        skipped: counts the skipped files in folders.

    Returns:
        The names of the files; and one message for each folder that cannot be read or has no
        images.
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
    """Return whether a path is a folder or a link to one; False for a broken link."""
    return _kind(path) == stat.S_IFDIR


def is_file(path: str) -> bool:
    """Return whether a path is a regular file or a link to one."""
    return _kind(path) == stat.S_IFREG


def reason_to_skip(path: str) -> str | None:
    """Return why a file in a folder or an archive is skipped, by its name; None if it is not."""
    if is_of_macos(path):
        return OF_MACOS
    stem, _, suffix = path.rpartition(".")  # Path.suffix takes 3 us
    if f".{suffix.lower()}" in SUFFIXES and stem[-1:] not in ("", "/"):
        return None
    return NO_PICTURE


def is_of_macos(path: str) -> bool:
    """Return whether a path holds metadata of macOS.

    Archives made on macOS have, for each `coat.png`, the attributes of that file in `._coat.png`
    or `__MACOSX/._coat.png`.
    """
    *folders, name = path.split("/")
    return name.startswith("._") or MACOS_FOLDER in folders


def skipped_summary(skipped: Skipped) -> str:
    """Return a summary of the skipped files, empty if there are none."""
    if not skipped:
        return ""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(skipped.items()))
    return f"skipped: {skipped.total():,} ({reasons})"


def walk(folder: str, skipped: Skipped) -> Iterator[str | Unreadable]:
    """Yield the images in a folder and its subfolders, sorted by name in each folder.

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
    """Return why an entry of a folder is skipped; None for a folder or an image.

    A broken link is not skipped: reading it reports the reason.
    """
    if _is_folder(entry):
        return OF_MACOS if entry.name == MACOS_FOLDER else None
    reason = reason_to_skip(entry.name)
    try:
        # Without a link, the directory entry has the type, and no further system call is needed.
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
