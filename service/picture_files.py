"""Which picture files the arguments of a command line mean."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

STANDARD_INPUT = "-"
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff")
)


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
        files.extend(_pictures_below(argument, faults))
        if before == (len(files), len(faults)):
            faults.append(f"{argument}: there is no picture in this folder, by its files' names")
    return files, faults


def _pictures_below(folder: str, faults: list[str]) -> Iterator[str]:
    def note(error: OSError) -> None:
        faults.append(f"{error.filename}: {error.strerror}")

    found: list[Path] = []
    for parent, _, names in os.walk(folder, onerror=note):
        paths = (Path(parent, name) for name in names)
        pictures = (path for path in paths if path.suffix.lower() in SUFFIXES)
        # Neither pipes nor devices; but links to what is gone, so that they are complained of.
        found.extend(path for path in pictures if path.is_file() or not path.exists())
    return map(str, sorted(found))
