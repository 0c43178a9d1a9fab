"""Check output folders early, and create them late."""

import os
from pathlib import Path

from training.errors import RunError


def check_folder(folder: Path) -> None:
    """Check that a folder can be created and written; nothing is changed.

    Raises:
        RunError: it cannot be created or written.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        fault = f"{there} is not a folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        fault = f"{there} is not writable"
    else:
        return
    raise RunError(f"cannot write into the folder {folder}: {fault}; choose another --out")


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they do not exist.

    Raises:
        RunError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --out"
        ) from error
